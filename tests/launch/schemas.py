"""Checks manifests of Kubernetes against the models of kubeflow-trainer-api.

These are made from the real schemas, of JobSet too. By themselves they ignore
fields that they do not know, and fill in those that are missing, both of which
a server would refuse: `problems` finds them as well.
Where kubernetes-validate is on PATH, `of_core` asks it about the parts that it
knows; it passes a JobSet unseen.
"""

from collections.abc import Iterator
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any

from kubeflow_trainer_api import models
import pydantic
import yaml

Manifest = dict[str, Any]
_MODELS = {
    ('jobset.x-k8s.io/v1alpha2', 'JobSet'): models.JobsetV1alpha2JobSet,
    ('batch/v1', 'CronJob'): models.IoK8sApiBatchV1CronJob,
    ('batch/v1', 'Job'): models.IoK8sApiBatchV1Job,
    ('v1', 'PersistentVolumeClaim'): models.IoK8sApiCoreV1PersistentVolumeClaim,
}


def problems(document: Manifest) -> list[str]:
  """Returns where a manifest is not what its schema says."""
  kind = (document.get('apiVersion'), document.get('kind'))
  if kind not in _MODELS:
    return [f'{kind}: there is no model of this']
  try:
    model = _MODELS[kind].from_dict(document)
  except pydantic.ValidationError as error:
    return [
        f'{".".join(map(str, one["loc"]))}: {one["msg"]}'
        for one in error.errors()
    ]
  return list(_differences(document, model, kind[1]))


def _differences(given: Any, model: Any, path: str) -> Iterator[str]:
  """Yields the fields that a model dropped, or made up."""
  if isinstance(given, list):
    for i, (one, other) in enumerate(zip(given, model, strict=True)):
      yield from _differences(one, other, f'{path}[{i}]')
  # A quantity is a model, too, of what is no mapping.
  if not isinstance(given, dict) or not isinstance(model, pydantic.BaseModel):
    return
  fields = {
      field.alias or name: (name, field)
      for name, field in type(model).model_fields.items()
  }
  for alias, (name, field) in fields.items():
    if alias in given:
      value = getattr(model, name)
      yield from _differences(given[alias], value, f'{path}.{alias}')
    elif field.is_required():
      yield f'{path}.{alias}: is missing'
  for name in given.keys() - fields:
    yield f'{path}.{name}: unknown field'


def job_of(jobset: Manifest) -> Manifest:
  """Returns the Job in a JobSet of one kind of pods, as a manifest."""
  (replicated,) = jobset['spec']['replicatedJobs']
  return {
      'apiVersion': 'batch/v1',
      'kind': 'Job',
      'metadata': {'name': replicated['name']},
      'spec': replicated['template']['spec'],
  }


def of_core(documents: list[Manifest], version: str) -> str | None:
  """Returns what kubernetes-validate has against manifests of core kinds.

  Args:
    documents: no custom resources, which it would pass.
    version: of Kubernetes.

  Returns:
    Nothing where it has nothing; None where there is no such program.
  """
  if shutil.which('kubernetes-validate') is None:
    return None
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'manifests.yaml')
    path.write_text(yaml.safe_dump_all(documents))
    result = subprocess.run(
        ['kubernetes-validate', '--strict', '-k', version, str(path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
  said = result.stdout + result.stderr
  is_fine = said.count(' passed for ') == len(documents)
  return '' if result.returncode == 0 and is_fine else said
