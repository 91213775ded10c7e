"""The daily refresh on Kubernetes: launch/schedules/cronjob.yaml, filled in."""

import copy
import pathlib
from typing import Any
from typing import NamedTuple
import zoneinfo

import yaml

from launch import job as job_lib

Manifest = dict[str, Any]
TEMPLATE = pathlib.Path(__file__).parent / 'schedules' / 'cronjob.yaml'
_UTC = 'Etc/UTC'  # As Kubernetes calls the zone.


class Settings(NamedTuple):
  """What may differ from the template; None is what stands there.

  Attributes:
    image: holds the repository.
    name: of the CronJob.
    namespace: of all; None is that of the context.
    schedule: when to start, as cron has it.
    zone: whose days and hours count.
    storage: size of the volume for dataset, training run and store.
    variables: settings of launch/refresh.sh, by name.
  """

  image: str
  name: str | None = None
  namespace: str | None = None
  schedule: str | None = None
  zone: str | None = None
  storage: str | None = None
  variables: tuple[tuple[str, str], ...] = ()


def plan(settings: Settings) -> tuple[Manifest, ...]:
  """Returns the manifests of the volume and of the CronJob.

  Raises:
    LaunchError: for a zone, a schedule or a store that is none.
  """
  _check(settings)
  claim, cron_job = yaml.safe_load_all(TEMPLATE.read_text())
  for manifest in (claim, cron_job):
    if settings.namespace:
      manifest['metadata']['namespace'] = settings.namespace
  if settings.storage:
    claim['spec']['resources']['requests']['storage'] = settings.storage
  if settings.name:
    cron_job['metadata']['name'] = settings.name
  spec = cron_job['spec']
  if settings.schedule:
    spec['schedule'] = settings.schedule
  variables = dict(settings.variables)
  if settings.zone:
    spec['timeZone'] = _UTC if settings.zone == 'UTC' else settings.zone
    variables['LIMAML_ZONE'] = settings.zone
  (container,) = spec['jobTemplate']['spec']['template']['spec']['containers']
  container['image'] = settings.image
  container['env'] = _environment(container['env'], variables)
  return claim, cron_job


def _environment(template, variables):
  """Returns the variables of the template with others' values."""
  environment = copy.deepcopy(template)
  by_name = {one['name']: one for one in environment}
  for name, value in variables.items():
    if name not in by_name:
      by_name[name] = {'name': name}
      environment.append(by_name[name])
    by_name[name]['value'] = value
  if by_name['LIMAML_STORE']['value'].startswith('redis'):
    return environment
  # A secret that nobody made would keep the pod from starting.
  return [one for one in environment if one['name'] != 'LIMAML_REDIS_PASSWORD']


def _check(settings):
  if settings.schedule is not None and len(settings.schedule.split()) != 5:
    raise job_lib.LaunchError(
        f'--schedule={settings.schedule}: give minute, hour, day, month and'
        " weekday, such as '0 1 * * *'"
    )
  try:
    zoneinfo.ZoneInfo(settings.zone or 'UTC')
  except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
    raise job_lib.LaunchError(
        f'--zone={settings.zone}: no such zone; give one like UTC or'
        ' Asia/Shanghai'
    ) from error
  store = dict(settings.variables).get('LIMAML_STORE')
  kind, _, place = (store or '').partition(':')
  if store and (kind not in ('lmdb', 'redis', 'rediss') or not place):
    raise job_lib.LaunchError(
        f'--store={kind}: give lmdb:PATH or redis://HOST:PORT/DB'
    )
  if ':' in place.partition('@')[0] and '@' in place:
    raise job_lib.LaunchError(
        '--store holds a password; it belongs in the secret limaml-redis'
    )
