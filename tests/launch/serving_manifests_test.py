"""The manifests of the scoring service.

kubernetes-validate checks their pods where it is on PATH, and the definitions
of KServe and Seldon in the folder LIMAML_CRDS the rest.
"""

import json
import os
import pathlib
import shutil

from absl.testing import absltest
from absl.testing import parameterized
import yaml

from tests.launch import manifests
from tests.launch import recipes

SERVING = recipes.ROOT / 'launch' / 'serving'
FILES = ('deployment.yaml', 'kserve.yaml', 'seldon.yaml')
HEALTH = {
    'startupProbe': '/v2/health/ready',
    'readinessProbe': '/v2/health/ready',
    'livenessProbe': '/v2/health/live',
}


def load(name):
  return list(yaml.safe_load_all((SERVING / name).read_text()))


def all_problems(document):
  """Returns what the schemas that are at hand have against a manifest."""
  kind = document['kind']
  fields = manifests.FIELDS[kind]
  found = list(manifests.problems(document, manifests.schema_of(fields), kind))
  folder = os.environ.get('LIMAML_CRDS')
  if folder and kind not in ('Deployment', 'Service'):
    versions = manifests.definitions(folder)[kind]
    if document['apiVersion'] not in versions:
      return [*found, f'apiVersion {document["apiVersion"]} is unknown']
    found += manifests.problems(
        document, versions[document['apiVersion']], f'definition of {kind}'
    )
  return found


class ServingManifestsTest(parameterized.TestCase):

  @parameterized.parameters(*FILES)
  def test_schemas_accept_the_manifest(self, name):
    for document in load(name):
      self.assertEmpty(all_problems(document))

  def test_kserve_and_seldon_accept_their_manifests(self):
    folder = os.environ.get('LIMAML_CRDS')
    if not folder:
      self.skipTest(
          'MANIFESTS NOT VALIDATED: set LIMAML_CRDS to a folder with the custom'
          ' resource definitions of KServe and Seldon'
      )
    known = manifests.definitions(folder)
    for name in ('kserve.yaml', 'seldon.yaml'):
      (document,) = load(name)
      schema = known[document['kind']][document['apiVersion']]
      self.assertEmpty(list(manifests.problems(document, schema)), msg=name)

  @parameterized.product(name=FILES, version=('1.31', '1.37'))
  def test_kubernetes_accepts_the_pod(self, name, version):
    if shutil.which('kubernetes-validate') is None:
      self.skipTest(
          'MANIFEST NOT VALIDATED: no kubernetes-validate on PATH; pip install'
          ' it, 108 MB with the schemas'
      )
    documents = load(name)
    pod = {
        'apiVersion': 'v1',
        'kind': 'Pod',
        'metadata': {'name': 'limaml'},
        'spec': manifests.pod_of(documents[0]),
    }
    plain = [one for one in documents if '.io/' not in one['apiVersion']]
    path = pathlib.Path(self.create_tempfile().full_path)
    path.write_text(yaml.safe_dump_all([pod, *plain]))
    result = recipes.run(
        'kubernetes-validate', '--strict', '-k', version, str(path)
    )
    said = result.stdout + result.stderr
    self.assertEqual(result.returncode, 0, said)
    self.assertEqual(said.count(' passed for '), 1 + len(plain), said)

  @parameterized.named_parameters(
      ('unknown_field', ('spec', 'template', 'spec', 'container'), [],
       'unknown field'),
      ('text_for_a_number', ('spec', 'replicas'), '2', 'no integer'),
      ('number_for_a_text',
       ('spec', 'template', 'spec', 'containers', 0, 'name'), 1, 'no string'),
      ('flag_for_a_number', ('spec', 'replicas'), True, 'no integer'),
  )  # fmt: skip
  def test_a_planted_error_is_found(self, path, value, message):
    wrong = manifests.plant(load('deployment.yaml')[0], path, value)
    found = all_problems(wrong)
    self.assertLen(found, 1)
    self.assertIn(message, found[0])

  @parameterized.named_parameters(
      ('kserve', 'kserve.yaml', ('spec', 'predictor', 'protocolVersion')),
      ('seldon', 'seldon.yaml', ('spec', 'predictors', 0, 'graph', 'model')),
  )
  def test_an_unknown_field_of_a_custom_resource_is_found(self, name, path):
    found = all_problems(manifests.plant(load(name)[0], path, 'v2'))
    self.assertNotEmpty(found)
    self.assertIn('unknown field', found[0])

  @parameterized.parameters(*FILES)
  def test_names_in_the_pod_are_those_of_its_parts(self, name):
    pod = manifests.pod_of(load(name)[0])
    self.assertEmpty(list(manifests.loose_names(pod)))

  @parameterized.named_parameters(
      ('port', ('containers', 0, 'ports', 0, 'name'), 'web', 'port'),
      ('volume', ('volumes', 0, 'name'), 'model', 'volume'),
  )
  def test_a_wrong_name_is_found(self, path, value, message):
    pod = manifests.pod_of(load('deployment.yaml')[0])
    found = list(manifests.loose_names(manifests.plant(pod, path, value)))
    self.assertNotEmpty(found)
    self.assertIn(message, found[0])

  def test_the_service_names_ports_and_labels_of_the_pod(self):
    deployment, service = load('deployment.yaml')
    template = deployment['spec']['template']
    (container,) = template['spec']['containers']
    ports = {port['name'] for port in container['ports']}
    for port in service['spec']['ports']:
      self.assertIn(port['targetPort'], ports)
    labels = template['metadata']['labels']
    self.assertEqual(service['spec']['selector'], labels)
    self.assertEqual(deployment['spec']['selector']['matchLabels'], labels)

  @parameterized.parameters(*FILES)
  def test_ports_are_those_of_the_settings(self, name):
    settings = json.loads((SERVING / 'container/settings.json').read_text())
    (container,) = manifests.pod_of(load(name)[0])['containers']
    ports = [port['containerPort'] for port in container['ports']]
    expected = [settings[f'{p}_port'] for p in ('http', 'grpc', 'metrics')]
    self.assertEqual(ports, expected)

  @parameterized.parameters(*FILES)
  def test_probes_ask_for_health(self, name):
    (container,) = manifests.pod_of(load(name)[0])['containers']
    for probe, path in HEALTH.items():
      self.assertEqual(container[probe]['httpGet']['path'], path)

  @parameterized.parameters(*FILES)
  def test_secrets_are_secrets_and_nothing_can_be_written(self, name):
    pod = manifests.pod_of(load(name)[0])
    (container,) = pod['containers']
    variables = {one['name']: one for one in container['env']}
    self.assertEqual(
        variables.keys(), {'LIMAML_TOKEN', 'LIMAML_REDIS_PASSWORD'}
    )
    for one in variables.values():
      self.assertIn('secretKeyRef', one['valueFrom'])
    # Without its secret no pod starts, rather than one that is open to all.
    token = variables['LIMAML_TOKEN']['valueFrom']['secretKeyRef']
    self.assertNotIn('optional', token)
    mounts = {m['mountPath']: m for m in container['volumeMounts']}
    for path in ('/srv/limaml', '/etc/limaml'):
      self.assertTrue(mounts[path]['readOnly'])
    self.assertTrue(container['securityContext']['readOnlyRootFilesystem'])
    self.assertTrue(pod['securityContext']['runAsNonRoot'])
    self.assertIn('memory', container['resources']['limits'])

  @parameterized.parameters(*FILES)
  def test_resources_are_quantities(self, name):
    (container,) = manifests.pod_of(load(name)[0])['containers']
    for amounts in container['resources'].values():
      for amount in amounts.values():
        self.assertRegex(amount, r'^\d+(\.\d+)?(m|[KMGT]i?)?$')

  def test_kserve_finds_its_container(self):
    (document,) = load('kserve.yaml')
    (container,) = manifests.pod_of(document)['containers']
    self.assertEqual(container['name'], 'kserve-container')
    annotations = document['metadata']['annotations']
    mode = annotations['serving.kserve.io/deploymentMode']
    self.assertEqual(mode, 'RawDeployment')  # Knative allows one port only.

  def test_seldon_finds_its_container(self):
    (document,) = load('seldon.yaml')
    (container,) = manifests.pod_of(document)['containers']
    graph = document['spec']['predictors'][0]['graph']
    self.assertEqual(graph['name'], container['name'])
    text = (SERVING / 'container/model-settings.json').read_text()
    self.assertEqual(graph['name'], json.loads(text)['name'])


if __name__ == '__main__':
  absltest.main()
