"""What the tests of the script and of its recipes share."""

import configparser
import datetime
import pathlib
import re
import subprocess

import cronsim

ROOT = pathlib.Path(__file__).parents[2]
REFRESH_SCRIPT = ROOT / 'launch' / 'refresh.sh'
SCHEDULES = ROOT / 'launch' / 'schedules'
SCRIPT = '/opt/limaml/launch/refresh.sh'  # Where recipes expect it.
REFUSED = 3  # Its exit status when the gate refused.
NEEDED = frozenset({
    'LIMAML_SCHEMA', 'LIMAML_LOGS', 'LIMAML_DATA', 'LIMAML_WORKDIR',
    'LIMAML_STORE',
})  # fmt: skip
# What systemd.unit(5), .service(5), .exec(5), .kill(5) and .timer(5) know, as
# far as a recipe may want it.
DIRECTIVES = {
    'Unit': """Description Documentation Wants Requires After Before OnFailure
        OnSuccess StartLimitIntervalSec StartLimitBurst ConditionPathExists
        RequiresMountsFor""",
    'Service': """Type User Group WorkingDirectory Environment EnvironmentFile
        ExecStart ExecStartPre ExecStartPost TimeoutStartSec Nice UMask Restart
        RestartSec RestartPreventExitStatus SuccessExitStatus ProtectSystem
        StateDirectory ReadWritePaths ReadOnlyPaths ProtectHome PrivateTmp
        NoNewPrivileges CapabilityBoundingSet RestrictAddressFamilies
        RestrictNamespaces RestrictRealtime RestrictSUIDSGID LockPersonality
        ProtectClock ProtectControlGroups ProtectHostname ProtectKernelLogs
        ProtectKernelModules ProtectKernelTunables SystemCallArchitectures
        SystemCallFilter SystemCallErrorNumber LoadCredential MemoryMax
        TimeoutStopSec LimitNOFILE ProtectProc""",
    'Timer': """OnCalendar OnBootSec RandomizedDelaySec AccuracySec Persistent
        Unit""",
    'Install': 'WantedBy RequiredBy Alias',
}


def run(*command, **options):
  return subprocess.run(
      command, capture_output=True, text=True, timeout=120, check=False,
      **options,
  )  # fmt: skip


def documented_variables():
  """Returns the variables that the script's help explains."""
  _, _, rest = REFRESH_SCRIPT.read_text().partition("<<'TEXT'")
  text, _, _ = rest.partition('\nTEXT\n')
  return set(re.findall(r'^  (LIMAML_\w+)  ', text, re.MULTILINE))


def hours_of_starts(expression):
  """Returns when a cron expression starts something, over three days."""
  starts = cronsim.CronSim(expression, datetime.datetime(2026, 1, 1))
  return [
      (start - datetime.datetime(2026, 1, 1)) / datetime.timedelta(hours=1)
      for start, _ in zip(starts, range(3), strict=False)
  ]


def environment_file():
  """Returns the settings of refresh.env, its comments left out."""
  lines = (SCHEDULES / 'refresh.env').read_text().splitlines()
  settings = [line for line in lines if line and not line.startswith('#')]
  pairs = [re.fullmatch(r"(LIMAML_\w+)='([^'\\$]*)'", one) for one in settings]
  assert all(pairs), settings
  return dict(pair.groups() for pair in pairs)


def read_unit(path):
  """Returns a unit of systemd, by section."""
  parser = configparser.ConfigParser(
      strict=False, interpolation=None, delimiters='='
  )
  parser.optionxform = str
  parser.read_string(path.read_text())
  return parser
