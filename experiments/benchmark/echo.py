"""Echo: what MLServer itself costs, as its users would write it."""

import mlserver
from mlserver import types


class Echo(mlserver.MLModel):
  """Returns the inputs of a request as outputs."""

  async def predict(
      self, payload: types.InferenceRequest
  ) -> types.InferenceResponse:
    """As `MLModel`."""
    outputs = [
        types.ResponseOutput(
            name=given.name,
            shape=given.shape,
            datatype=given.datatype,
            data=given.data,
        )
        for given in payload.inputs
    ]
    return types.InferenceResponse(model_name=self.name, outputs=outputs)
