"""The page in a real browser, from a real server."""

import asyncio
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from urllib import parse

from absl.testing import absltest
from absl.testing import parameterized
import pytest

pytest.importorskip('mlserver', reason='no mlserver: /explore IS NOT TESTED')
webdriver = pytest.importorskip(
    'selenium.webdriver', reason='no selenium: /explore IS NOT TESTED'
)
import prometheus_client  # noqa: E402
from selenium.webdriver.common import keys as keys_lib  # noqa: E402
from selenium.webdriver.support import ui  # noqa: E402

from limaml_jax.serving import metrics as metrics_lib  # noqa: E402
from limaml_jax.serving import request as request_lib  # noqa: E402
from limaml_jax.serving import service as service_lib  # noqa: E402
from limaml_jax.serving import settings as settings_lib  # noqa: E402
from tests import small_bundle  # noqa: E402

_PATIENCE_SECONDS = 60
_NOBODY = '<img src=x onerror=document.title="broken">'
_ROWS = """
return [...document.querySelectorAll('#rows tr')].map((row) =>
  [...row.children].map((cell) => cell.textContent))
"""


def free_ports():
  listeners = [socket.create_server(('127.0.0.1', 0)) for _ in range(3)]
  ports = [listener.getsockname()[1] for listener in listeners]
  for listener in listeners:
    listener.close()
  return ports


class Server:
  """`mlserver start` on a small bundle."""

  def __init__(self, made, *, token='', host='127.0.0.1', **extra):
    ports = free_ports()
    self.port = ports[0]
    small_bundle.write_settings(made, ports, **extra)
    path = made.root / 'settings.json'
    settings = json.loads(path.read_text()) | {'host': host}
    path.write_text(json.dumps(settings))
    self._log = open(made.root / 'log', 'wb')
    root = str(pathlib.Path(small_bundle.__file__).parents[1])
    program = pathlib.Path(sys.executable).with_name('mlserver')
    self._process = subprocess.Popen(
        [program, 'start', made.root],
        env=os.environ
        | {'PYTHONPATH': root, 'JAX_PLATFORMS': 'cpu', 'LIMAML_TOKEN': token},
        stdout=self._log,
        stderr=subprocess.STDOUT,
    )
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not self._is_ready():
      if self._process.poll() is not None or time.monotonic() > give_up:
        self.stop()
        raise AssertionError((made.root / 'log').read_text()[-2000:])
      time.sleep(0.1)

  def stop(self):
    self._process.terminate()
    self._process.wait(_PATIENCE_SECONDS)
    self._log.close()

  def get(self, path, address='127.0.0.1', **headers):
    """Returns status and body."""
    connection = http.client.HTTPConnection(address, self.port, timeout=30)
    named = {name.replace('_', '-'): value for name, value in headers.items()}
    try:
      connection.request('GET', path, headers=named)
      answer = connection.getresponse()
      return answer.status, answer.read()
    finally:
      connection.close()

  def scores(self, entity, candidates):
    """Returns the scores of candidates as any client gets them."""
    tensor = lambda name, data: {
        'name': name, 'datatype': 'BYTES', 'shape': [len(data)], 'data': data
    }  # fmt: skip
    body = {
        'inputs': [tensor('entity', [entity]), tensor('candidates', candidates)]
    }
    connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
    try:
      connection.request(
          'POST', '/v2/models/limaml/infer', json.dumps(body),
          {'content-type': 'application/json'},
      )  # fmt: skip
      answer = json.loads(connection.getresponse().read())
    finally:
      connection.close()
    outputs = {one['name']: one['data'] for one in answer['outputs']}
    return dict(zip(candidates, outputs['score'], strict=True))

  def _is_ready(self):
    try:
      return self.get('/v2/health/ready')[0] == 200
    except OSError:
      return False


def open_browser():
  names = ('chromium', 'chromium-browser', 'google-chrome')
  program = next(filter(None, map(shutil.which, names)), None)
  driver = shutil.which('chromedriver')
  if not (program and driver):
    raise unittest.SkipTest(
        'no chromium with chromedriver on PATH; see launch/browser.sh: THE'
        ' PAGE /explore IS NOT TESTED'
    )
  options = webdriver.ChromeOptions()
  options.binary_location = program
  for flag in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage',
               'disable-gpu', 'window-size=1280,900'):  # fmt: skip
    options.add_argument(f'--{flag}')
  options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
  return webdriver.Chrome(
      options=options, service=webdriver.ChromeService(driver)
  )


class PageTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.browser = open_browser()
    cls.addClassCleanup(cls.browser.quit)
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.made = small_bundle.make(folder)
    cls.server = Server(cls.made)
    cls.addClassCleanup(cls.server.stop)
    # In the order of the table: of equal scores the first comes first.
    cls.items = sorted(small_bundle.items(cls.made.line.table).keys.tolist())

  def setUp(self):
    super().setUp()
    self.open()

  def open(self, fragment=''):
    self.browser.get('about:blank')
    self.browser.get(f'http://127.0.0.1:{self.server.port}/explore{fragment}')
    self.wait("return document.documentElement.dataset.state === 'ready'")

  def wait(self, script):
    wait = ui.WebDriverWait(self.browser, _PATIENCE_SECONDS, 0.05)
    wait.until(lambda browser: browser.execute_script(script))

  def choose(self, entity):
    field = self.browser.find_element('id', 'entity')
    field.clear()
    field.send_keys(entity + keys_lib.Keys.ENTER)
    self.wait(
        'const {state, entity} = document.documentElement.dataset;'
        f" return state === 'ready' && entity === {json.dumps(entity)}"
    )

  def text(self, name):
    return self.browser.find_element('id', name).get_property('textContent')

  def default_scores(self, entity):
    """Returns scores with all that is known of it but its embedding."""
    settings = settings_lib.Settings(store=self.made.store)
    metrics = metrics_lib.Metrics(prometheus_client.CollectorRegistry())
    service = service_lib.Service(self.made.root, settings, metrics)
    self.addCleanup(service.close)
    request = request_lib.make([entity], self.items, {}, limits=settings)
    scored = asyncio.run(service.score(request, adapt=False))
    return dict(zip(self.items, scored.scores.tolist(), strict=True))

  def rows(self):
    return self.browser.execute_script(_ROWS)

  def test_the_header_says_what_is_served(self):
    self.assertEqual(self.text('name'), 'limaml')
    fingerprint = self.made.line.refresher.fingerprint
    self.assertEqual(self.text('fingerprint'), fingerprint)
    self.assertEqual(self.text('bundle'), '1')
    self.assertRegex(self.text('snapshot'), r'^1, .+ old$')

  def test_a_known_entity_is_present(self):
    self.choose(self.made.keys[3])
    self.assertEqual(self.text('status'), 'PRESENT')
    self.assertEqual(self.text('chosen'), self.made.keys[3])
    self.assertRegex(self.text('meaning'), r'is [0-9.]+ \w+ old\.$')

  def test_the_top_is_that_of_any_client(self):
    entity = self.made.keys[3]
    self.choose(entity)
    own = self.server.scores(entity, self.items)
    default = self.default_scores(entity)
    by = lambda scores: sorted(scores, key=scores.get, reverse=True)
    expected, before = by(own)[:20], by(default)
    rows = self.rows()
    self.assertEqual([row[1] for row in rows], expected)
    self.assertNotEqual(expected, before[:20])
    for rank, row in enumerate(rows, 1):
      self.assertEqual(row[0], str(rank))
      self.assertEqual(row[2], f'{own[row[1]]:.3f}')
      moved = before.index(row[1]) + 1 - rank
      self.assertIn(str(abs(moved)) if moved else 'stays', row[4])
      self.assertEqual('▲' in row[4], moved > 0)

  def test_the_other_order_is_that_of_the_default(self):
    self.choose(self.made.keys[3])
    before = [row[1] for row in self.rows()]
    self.browser.find_element('id', 'by-default').click()
    after = [float(row[3]) for row in self.rows()]
    self.assertEqual(after, sorted(after, reverse=True))
    self.assertNotEqual(before, [row[1] for row in self.rows()])

  def test_an_unknown_entity_is_text_and_does_not_move(self):
    self.choose(_NOBODY)
    self.assertEqual(self.text('status'), 'MISSING')
    self.assertEqual(self.text('chosen'), _NOBODY)
    self.assertEqual({row[4] for row in self.rows()}, {'–stays'})
    images = self.browser.find_elements('css selector', 'img')
    self.assertEmpty(images)

  def test_a_suggestion_is_chosen_by_keyboard(self):
    key = self.made.keys[20]
    field = self.browser.find_element('id', 'entity')
    field.clear()
    field.send_keys(key[:-1])  # Begins those of ten, of which it is the first.
    self.wait("return !document.getElementById('suggestions').hidden")
    field.send_keys(keys_lib.Keys.ARROW_DOWN + keys_lib.Keys.ENTER)
    self.wait(
        f'return document.documentElement.dataset.entity === {json.dumps(key)}'
    )
    self.assertEqual(self.text('status'), 'PRESENT')

  def test_a_link_opens_its_entity(self):
    key = self.made.keys[5]
    self.open('#' + parse.urlencode({'entity': key}))
    self.assertEqual(self.text('chosen'), key)

  def test_draws_a_slope_for_each_of_the_top(self):
    self.choose(self.made.keys[3])
    slopes = self.browser.find_elements('css selector', '#figure .slope')
    self.assertBetween(len(slopes), 10, 20)
    self.assertNotEmpty(
        self.browser.find_elements('css selector', '#figure .bin')
    )

  @parameterized.parameters(1280, 390)
  def test_fits_its_window(self, width):
    size = {'width': width, 'height': 900}
    self.browser.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        size | {'deviceScaleFactor': 1, 'mobile': False},
    )
    self.addCleanup(
        self.browser.execute_cdp_cmd,
        'Emulation.clearDeviceMetricsOverride', {},
    )  # fmt: skip
    self.open()
    needed = self.browser.execute_script(
        'return document.documentElement.scrollWidth'
    )
    self.assertLessEqual(needed, width)

  def test_the_browser_complains_of_nothing(self):
    self.choose(self.made.keys[1])
    log = [
        entry['message']
        for entry in self.browser.get_log('browser')
        if 'favicon' not in entry['message']
    ]
    self.assertEmpty(log)

  @parameterized.named_parameters(
      ('another_name', {'host': 'example.org'}),
      ('a_name_that_begins_alike', {'host': '127.0.0.1.example.org'}),
      ('a_proxy', {'x_forwarded_for': '127.0.0.1'}),
  )
  def test_is_refused(self, headers):
    for path in ('', '/model', '/entities', '/scores?entity=1'):
      self.assertEqual(self.server.get(f'/explore{path}', **headers)[0], 403)

  def test_other_sites_make_it_compute_nothing(self):
    site = {'sec_fetch_site': 'cross-site'}
    status, _ = self.server.get('/explore/scores?entity=1', **site)
    self.assertEqual(status, 403)

  @parameterized.parameters(
      ('scores', 'entity'),
      ('scores?entity=1&limit=0', 'limit'),
      ('entities?limit=many', 'limit'),
  )
  def test_bad_questions_are_the_clients_errors(self, path, field):
    status, body = self.server.get(f'/explore/{path}')
    self.assertEqual(status, 400)
    self.assertStartsWith(json.loads(body)['error'], f'{field}: ')


class SettingsTest(absltest.TestCase):

  def start(self, **options):
    made = small_bundle.make(self.create_tempdir().full_path)
    server = Server(made, **options)
    self.addCleanup(server.stop)
    return server

  def test_is_gone_when_it_is_switched_off(self):
    server = self.start(explore=False)
    self.assertEqual(server.get('/explore')[0], 404)
    self.assertEqual(server.get('/explore/scores?entity=1')[0], 404)

  def test_a_token_guards_the_answers_and_not_the_page(self):
    server = self.start(token='secret', host='0.0.0.0')
    self.assertEqual(server.get('/explore')[0], 200)
    self.assertEqual(server.get('/explore/model')[0], 401)
    bearing = server.get('/explore/model', authorization='Bearer secret')
    self.assertEqual(bearing[0], 200)
    with self.subTest('no_other_machine_whatever_it_is_bound_to'):
      address = own_address()
      if address is None:
        self.skipTest('this machine has no address but its loopback')
      # From an address that is not loopback, by a name that is.
      status, _ = server.get('/explore', address, host='localhost')
      self.assertEqual(status, 403)


def own_address():
  """Returns an address of this machine that others see, or None."""
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    try:
      probe.connect(('192.0.2.1', 9))  # Sends nothing.
    except OSError:
      return None
    address = probe.getsockname()[0]
  return None if address.startswith('127.') else address


if __name__ == '__main__':
  absltest.main()
