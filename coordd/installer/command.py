"""Define the commands ``coordd service install|uninstall|print``."""

from __future__ import annotations

import os
import pwd
import sys

import click

from coordd.config.layout import Layout, choose_layout
from coordd.errors import InstallError
from coordd.installer import launchd, managers, systemd
from coordd.installer.configuration import check_wanted
from coordd.installer.dashboard import check_listen
from coordd.installer.installing import Installation, service_environment
from coordd.installer.managers import Manager, Setting
from coordd.installer.options import (
    dry_run_option,
    listen_option,
    read_homes_option,
    run_as_option,
    scope_options,
)
from coordd.installer.removing import Removal
from coordd.installer.services import (
    ALERT,
    COORDD,
    DASHBOARD,
    SERVICES,
    USER,
    Scope,
    Wanted,
    this_installation,
)


@click.group(
    epilog="""\b
Examples:
  coordd service install -w '~/src/*'       yours: watch all projects below ~/src
  sudo coordd service install --system -w '/home/*/src/*'
  coordd service print                      the unit, to look at or to pipe
  coordd service uninstall                  away with it; records stay""",
)
def service() -> None:
    """Run coordd as a service of systemd or launchd."""


@service.command(
    epilog="""\b
Examples:
  coordd service install -w ~/src/app -w ~/src/api
  coordd service install --redis-url redis://localhost:6379/0
  coordd service install --dry-run                    what it would do
  coordd service install --dashboard                  and a web page, as a service too
  coordd service install --alerts                     and coordd-alert, which tells you
  sudo coordd service install --system -w '/home/*/src/*'
  sudo coordd service install --system --run-as ann   reads what ann can read
  sudo coordd service install --system --read-homes   sees sessions of all users

\b
May be run again, to repair and after an upgrade. A configuration that is there is
left alone: what it lacks for what you ask is printed.""",
)
@scope_options
@run_as_option
@click.option(
    "--workspace",
    "-w",
    "workspaces",
    multiple=True,
    metavar="GLOB",
    help="Watch this project, or all that a pattern matches; may be repeated.",
)
@click.option("--redis-url", metavar="URL", help="The Redis to read agents from and to write samples to.")
@click.option(
    "--dashboard", is_flag=True, help="The dashboard too, as a second service; one that is there is upgraded."
)
@click.option(
    "--alerts",
    is_flag=True,
    help="coordd-alert too, which tells what needs you; one that is there is upgraded.",
)
@listen_option
@read_homes_option
@dry_run_option
def install(
    *,
    scope: Scope,
    run_as: str | None,
    workspaces: tuple[str, ...],
    redis_url: str | None,
    dashboard: bool,
    alerts: bool,
    listen: str | None,
    read_homes: bool | None,
    dry_run: bool,
) -> None:
    """Install the service, start it, and wait until it answers.

    Writes the unit (or plist), makes user, group and directories (--system), and a commented default
    configuration where there is none; tries each project as the user that will read it. The dashboard of
    the system asks for a token, which is made for root and the members of the group. coordd-alert of the
    system runs as a user of its own.

    Session files of coding agents are readable for their user alone. With --read-homes a drop-in of systemd
    gives the system's service CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, by which it may read every file of this
    machine.
    """
    _of_the_system(scope, read_homes)
    wanted = check_wanted(
        Wanted(
            scope=scope,
            run_as=_user(scope, run_as),
            workspaces=workspaces,
            redis_url=redis_url,
            dashboard=dashboard,
            alerts=alerts,
            listen=_address(listen, dashboard=dashboard),
        ),
        os.getcwd(),
    )
    setting = _setting(wanted, read_homes=read_homes)
    Installation(
        wanted=wanted,
        setting=setting,
        manager=_manager(setting, root=not dry_run),
        layout=_layout(setting),
        say=click.echo,
    ).install(dry_run=dry_run)


@service.command(
    epilog="""\b
Examples:
  coordd service uninstall
  coordd service uninstall --dashboard          the dashboard alone
  coordd service uninstall --alerts --purge     coordd-alert alone, and what it remembers
  coordd service uninstall --purge --dry-run    what would go
  sudo coordd service uninstall --system --purge""",
)
@scope_options
@click.option(
    "--purge", is_flag=True, help="Remove configuration, records and logs too, and the service's user."
)
@click.option(
    "--dashboard", is_flag=True, help="The dashboard alone (with --purge: and its token); coordd stays."
)
@click.option(
    "--alerts",
    is_flag=True,
    help="coordd-alert alone (with --purge: and what it told, and its user); coordd stays.",
)
@dry_run_option
def uninstall(scope: Scope, purge: bool, dashboard: bool, alerts: bool, dry_run: bool) -> None:
    """Stop the services (dashboard and coordd-alert too) and remove them; configuration and records stay."""
    wanted = Wanted(scope=scope, dashboard=dashboard, alerts=alerts)
    setting = _setting(wanted)
    Removal(
        wanted=wanted,
        manager=_manager(setting, root=not dry_run),
        layout=_layout(setting),
        environ=service_environment(wanted, setting),
        programs=setting.programs,
        command=setting.shown("coordd"),
        say=click.echo,
    ).uninstall(purge=purge, dry_run=dry_run)


@service.command(
    "print",
    epilog="""\b
Examples:
  coordd service print
  coordd service print --system --run-as ann >coordd.service
  coordd service print --system --read-homes          the drop-in of that option
  coordd service print --for launchd""",
)
@scope_options
@run_as_option
@click.option("--dashboard", "which", flag_value=DASHBOARD.name, help="The dashboard's.")
@click.option("--alerts", "which", flag_value=ALERT.name, help="The one of coordd-alert.")
@click.option("--read-homes", is_flag=True, help="The drop-in that 'install --system --read-homes' adds.")
@listen_option
@click.option(
    "--for",
    "manager",
    type=click.Choice(["systemd", "launchd"]),
    help="The service manager; by default this machine's own.",
)
def print_(
    *,
    scope: Scope,
    run_as: str | None,
    which: str | None,
    read_homes: bool,
    listen: str | None,
    manager: str | None,
) -> None:
    """Print the unit or plist that 'install' would write."""
    if read_homes:
        _of_the_system(scope, read_homes)
        click.echo(systemd.read_homes_drop_in(), nl=False)
        return
    address = _address(listen, dashboard=which == DASHBOARD.name)
    setting = _setting(Wanted(scope=scope, run_as=_user(scope, run_as), listen=address))
    if manager is None:
        manager = "launchd" if sys.platform == "darwin" else "systemd"
    made: Manager = (
        launchd.Launchd(setting=setting)
        if manager == "launchd"
        else systemd.Systemd(setting=setting, units=systemd.usual_units(setting))
    )
    click.echo(made.rendered(next(one for one in SERVICES if one.name == (which or COORDD.name))), nl=False)


def _address(listen: str | None, *, dashboard: bool) -> str | None:
    if listen is None:
        return None
    if not dashboard:
        raise click.UsageError("--listen goes with --dashboard: coordd itself answers on its socket alone.")
    return check_listen(listen)


def _of_the_system(scope: Scope, read_homes: bool | None) -> None:
    if read_homes is not None and scope == "user":
        raise click.UsageError("--read-homes goes with --system: your own service reads your own home.")


def _user(scope: Scope, run_as: str | None) -> str:
    """Return the system service's user: as asked, as installed already, or coordd's own."""
    if run_as is not None and scope == "user":
        raise click.UsageError("--run-as goes with --system: your own service runs as you.")
    if run_as is not None or scope == "user":
        return run_as or USER
    there = launchd.installed_user(COORDD) if sys.platform == "darwin" else systemd.installed_user(COORDD)
    return there or USER


def _setting(wanted: Wanted, *, read_homes: bool | None = None) -> Setting:
    environ = dict(os.environ)
    uid = os.geteuid()
    runtime = systemd.find_runtime_directory(environ, uid)
    if runtime is not None and wanted.scope == "user":
        environ["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"] = runtime  # systemctl --user reads it
    return Setting(
        scope=wanted.scope,
        run_as=wanted.run_as,
        programs=this_installation(),
        environ=environ,
        home=environ.get("HOME") or pwd.getpwuid(uid).pw_dir,
        uid=uid,
        listen=wanted.listen,
        read_homes=read_homes,
    )


def _manager(setting: Setting, *, root: bool) -> Manager:
    which = managers.present(sys.platform)
    if setting.scope == "system" and root and setting.uid != 0:
        raise InstallError(
            "the system's service is root's to install: sudo coordd service … --system. Your own service "
            "needs no root: leave --system out."
        )
    return launchd.Launchd(setting=setting) if which == "launchd" else systemd.connect(setting)


def _layout(setting: Setting) -> Layout:
    return choose_layout(
        name=setting.scope, workspaces=(), cwd="/", environ=setting.environ, platform=sys.platform
    )
