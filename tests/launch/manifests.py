"""Checks manifests of Kubernetes against schemas, and their names each other.

`FIELDS` holds what the recipes use of the API, so that a check needs nothing.
`definitions` reads the real schemas of KServe and Seldon, from a folder.
"""

from collections.abc import Iterator
import copy
import os
import pathlib
import re
from typing import Any

import yaml

Schema = dict[str, Any]
_TYPES = {
    'string': str,
    'integer': int,
    'number': (int, float),
    'boolean': bool,
    'object': dict,
    'array': list,
}
_TEXTS = {'*': str}
_PORT = {'name': str, 'containerPort': int}
_SECRET = {'secretKeyRef': {'name': str, 'key': str, 'optional': bool}}
_PROBE = {
    'httpGet': {'path': str, 'port': str},
    'periodSeconds': int,
    'failureThreshold': int,
    'timeoutSeconds': int,
}
_CONTAINER = {
    'name': str,
    'image': str,
    'ports': [_PORT],
    'env': [{'name': str, 'value': str, 'valueFrom': _SECRET}],
    'startupProbe': _PROBE,
    'readinessProbe': _PROBE,
    'livenessProbe': _PROBE,
    'resources': {'requests': _TEXTS, 'limits': _TEXTS},
    'securityContext': {
        'allowPrivilegeEscalation': bool,
        'readOnlyRootFilesystem': bool,
        'capabilities': {'drop': [str]},
    },
    'volumeMounts': [{'name': str, 'mountPath': str, 'readOnly': bool}],
}
_POD = {
    'automountServiceAccountToken': bool,
    'securityContext': {
        'runAsNonRoot': bool,
        'runAsUser': int,
        'runAsGroup': int,
        'fsGroup': int,
        'seccompProfile': {'type': str},
    },
    'containers': [_CONTAINER],
    'volumes': [{
        'name': str,
        'persistentVolumeClaim': {'claimName': str, 'readOnly': bool},
        'configMap': {'name': str},
        'emptyDir': {},
    }],
}
_META = {'name': str, 'labels': _TEXTS, 'annotations': _TEXTS}
_HEAD = {'apiVersion': str, 'kind': str, 'metadata': _META}
FIELDS = {
    'Deployment': _HEAD | {
        'spec': {
            'replicas': int,
            'selector': {'matchLabels': _TEXTS},
            'template': {'metadata': _META, 'spec': _POD},
        },
    },
    'Service': _HEAD | {
        'spec': {
            'selector': _TEXTS,
            'ports': [{'name': str, 'port': int, 'targetPort': str}],
        },
    },
    'InferenceService': _HEAD | {
        'spec': {'predictor': _POD | {'minReplicas': int, 'maxReplicas': int}},
    },
    'SeldonDeployment': _HEAD | {
        'spec': {
            'name': str,
            'protocol': str,
            'predictors': [{
                'name': str,
                'replicas': int,
                'annotations': _TEXTS,
                'graph': {'name': str, 'type': str},
                'componentSpecs': [{'metadata': _META, 'spec': _POD}],
            }],
        },
    },
}  # fmt: skip


def schema_of(fields: Any) -> Schema:
  """Returns nested fields, as in `FIELDS`, as a schema of OpenAPI."""
  if isinstance(fields, list):
    return {'type': 'array', 'items': schema_of(fields[0])}
  if isinstance(fields, dict) and '*' in fields:
    return {'type': 'object', 'additionalProperties': schema_of(fields['*'])}
  if isinstance(fields, dict):
    properties = {name: schema_of(value) for name, value in fields.items()}
    return {'type': 'object', 'properties': properties}
  names = {str: 'string', int: 'integer', bool: 'boolean'}
  return {'type': names[fields]}


def definitions(folder: str | os.PathLike) -> dict[str, dict[str, Schema]]:
  """Returns the schemas of the custom resources in a folder.

  Args:
    folder: of CustomResourceDefinitions in YAML.

  Returns:
    By kind, then by apiVersion.
  """
  found: dict[str, dict[str, Schema]] = {}
  for path in sorted(pathlib.Path(folder).glob('*.yaml')):
    for one in yaml.load_all(path.read_text(), yaml.CSafeLoader):
      if not one or one['kind'] != 'CustomResourceDefinition':
        continue
      spec = one['spec']
      kind = found.setdefault(spec['names']['kind'], {})
      for version in spec['versions']:
        schema = version['schema']['openAPIV3Schema']
        kind[f'{spec["group"]}/{version["name"]}'] = schema
  return found


def problems(document: Any, schema: Schema, path: str = '') -> Iterator[str]:
  """Yields where a document is not what a schema says; unknown fields, too."""
  if schema.get('x-kubernetes-int-or-string'):
    if isinstance(document, bool) or not isinstance(document, int | str):
      yield f'{path}: {document!r} is neither integer nor string'
    elif not re.search(schema.get('pattern', ''), str(document)):
      yield f'{path}: {document!r} does not match {schema["pattern"]}'
    return
  kind = schema.get('type')
  is_flag = isinstance(document, bool) and kind != 'boolean'
  if kind and (is_flag or not isinstance(document, _TYPES[kind])):
    yield f'{path}: {document!r} is no {kind}'
    return
  if 'enum' in schema and document not in schema['enum']:
    yield f'{path}: {document!r} is none of {schema["enum"]}'
  if isinstance(document, str) and 'pattern' in schema:
    if not re.search(schema['pattern'], document):
      yield f'{path}: {document!r} does not match {schema["pattern"]}'
  if isinstance(document, list):
    for i, element in enumerate(document):
      yield from problems(element, schema.get('items', {}), f'{path}[{i}]')
  if isinstance(document, dict):
    yield from _of_object(document, schema, path)


def _of_object(document, schema, path):
  for name in schema.get('required', ()):
    if name not in document:
      yield f'{path}.{name}: is missing'
  properties = schema.get('properties')
  others = schema.get('additionalProperties')
  is_open = schema.get('x-kubernetes-preserve-unknown-fields')
  # A schema of any object, such as that of metadata, names no field at all.
  is_open = is_open or (properties is None and others is None)
  for name, value in document.items():
    if properties and name in properties:
      yield from problems(value, properties[name], f'{path}.{name}')
    elif isinstance(others, dict):
      yield from problems(value, others, f'{path}.{name}')
    elif not (is_open or others):
      yield f'{path}.{name}: unknown field'


def pod_of(document: Any) -> Any:
  """Returns the pod in a workload of `FIELDS`."""
  spec = document['spec']
  if document['kind'] == 'Deployment':
    return spec['template']['spec']
  if document['kind'] == 'InferenceService':
    replicas = ('minReplicas', 'maxReplicas')
    predictor = spec['predictor']
    return {k: v for k, v in predictor.items() if k not in replicas}
  return spec['predictors'][0]['componentSpecs'][0]['spec']


def loose_names(pod: Any) -> Iterator[str]:
  """Yields the names in a pod that nothing there has."""
  (container,) = pod['containers']
  ports = {port['name'] for port in container['ports']}
  for probe in ('startupProbe', 'readinessProbe', 'livenessProbe'):
    name = container[probe]['httpGet']['port']
    if name not in ports:
      yield f'{probe}: no port is called {name!r}'
  mounted = {mount['name'] for mount in container['volumeMounts']}
  for name in mounted ^ {volume['name'] for volume in pod['volumes']}:
    yield f'volume {name!r} is not both there and mounted'


def plant(manifest: dict, path: tuple, value: Any) -> dict:
  """Returns a copy with one value changed; path's last part may be new."""
  manifest = copy.deepcopy(manifest)
  *parents, last = path
  place = manifest
  for part in parents:
    place = place[part]
  place[last] = value
  return manifest
