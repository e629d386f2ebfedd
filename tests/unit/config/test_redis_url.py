"""Test which Redis URLs are accepted, who may use them, and that no password is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.config.build import Config, build_config, effective, public_url
from coordd.config.layout import Layout
from coordd.config.redis_url import check_redis_url, has_controls
from coordd.errors import ConfigError
from coordd.protocol.paths import user_paths
from coordd.redislink.target import RedisTarget, Tls, parse_target

LAYOUT = Layout(name="user", root=None, **user_paths({"HOME": "/home/ann"}, "linux"))


def build(url: str | None = None, **environ: str) -> Config:
    text = None if url is None else f"[coordination]\nredis_url = '{url}'"
    return build_config(
        layout=LAYOUT, file_text=text, file_name="f.toml", environ=environ, flags={}, trusted=True
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost/",
        "redis://localhost:6379/15",
        "redis://user:pass@host:1/0",
        "redis://:p%40ss@host",
        "redis://host?db=3",
        "rediss://host:6380/0?ssl_cert_reqs=none&ssl_ca_certs=/etc/ca.pem",
        "redis://[2001:db8::1]:6379",
        "unix:///run/redis.sock",
        "unix://user:pass@/run/redis.sock?db=2",
    ],
)
def test_a_url_is_taken_as_it_is(url: str) -> None:
    assert check_redis_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "localhost",
            "localhost:6379",
            "http://host",
            "redis:/host",
            "redis://",
            "redis:///0",
            "redis://:6379",
        ),
        *("redis://host:0", "redis://host:65536", "redis://host:port", "redis://[::1", "redis://ho st"),
        *(
            "redis://host/one",
            "redis://host/-1",
            "redis://host/1/2",
            "redis://host/1?db=2",
            "redis://host/0#x",
        ),
        *(
            "redis://host?socket_timeout=60",
            "redis://host?ssl_keyfile=k",
            "redis://host?db",
            "redis://host?db=",
        ),
        *("unix://", "unix:///", "unix://run/redis.sock", "redis://host/\u0661", "redis://h?password=secret"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_redis_url(url)


@pytest.mark.parametrize("special", [*"/#?[] ", "/1?", "?a=1&", "?db=1#", "/0?ssl_certfile=", "#@/", "]:?"])
@pytest.mark.parametrize(
    "form", ["redis://:{}@host:6379/0", "rediss://ann:{}@host", "unix://ann:{}@/run/r.sock"]
)
@pytest.mark.parametrize("parts", [("hunter", "two"), ("6379", "22"), ("hunter", ""), ("", "two")])
def test_a_password_that_is_not_percent_encoded_is_told_so_and_not_shown(
    form: str, special: str, parts: tuple[str, str]
) -> None:
    password = special.join(parts)
    with pytest.raises(ConfigError, match="percent-encoded") as caught:
        build(form.format(password))
    said = str(caught.value).replace("6379/0", "")
    assert not [part for part in parts if part and part in said]
    encoded = form.format(quote(password, safe=""))
    assert parse_target(check_redis_url(encoded)).password == password


@pytest.mark.parametrize("password", ["a@b", "a:b", "@:@"])
def test_an_at_sign_or_a_colon_in_a_password_does_no_harm(password: str) -> None:
    assert parse_target(check_redis_url(f"redis://ann:{password}@host/1")).password == password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:1/0", "redis://user:***@host:1/0"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://secret@host", "redis://***@host"),
        ("redis://u:sec@ret/x@host", "redis://u:***@host"),
        ("redis://u:a://secret@host", "redis://u:***@host"),
        ("unix://u:secret@/run/r.sock?db=1", "unix://u:***@/run/r.sock?db=1"),
        ("redis://h/0?db=1&password=secret&x=1", "redis://h/0?db=1&password=***&x=1"),
        ("redis://h/0?Password=secret", "redis://h/0?Password=***"),
        (":secret@host", ":***@host"),
        ("redis://host:1/0", "redis://host:1/0"),
        ("", ""),
    ],
)
def test_a_password_is_replaced(url: str, shown: str) -> None:
    assert public_url(url) == shown


def test_redis_url_of_another_application_is_for_reading_only() -> None:
    config = build(REDIS_URL="redis://theirs")
    assert config.coordination.redis_url == "redis://theirs"
    assert config.coordination.redis_writable is False
    assert config.origins["coordination.redis_url"] == "environment variable REDIS_URL"


def test_redis_url_overrides_the_file_and_is_written_to_only_if_the_file_names_the_same() -> None:
    config = build("redis://ours", REDIS_URL="redis://theirs")
    assert (config.coordination.redis_url, config.coordination.redis_writable) == ("redis://theirs", False)
    config = build("redis://ours", REDIS_URL="redis://ours")
    assert (config.coordination.redis_url, config.coordination.redis_writable) == ("redis://ours", True)


def test_coordds_own_variable_comes_before_redis_url_however_bad_that_is() -> None:
    config = build("redis://file", REDIS_URL="memcached://theirs", COORDD_REDIS_URL="redis://ours")
    assert (config.coordination.redis_url, config.coordination.redis_writable) == ("redis://ours", True)


def test_a_redis_url_of_another_application_that_cannot_be_used_is_passed_over_with_a_warning() -> None:
    config = build(REDIS_URL=f"memcached://u:{SECRET}@theirs")
    assert (config.coordination.redis_url, config.coordination.redis_writable) == (None, False)
    assert config.origins["coordination.redis_url"] == "default"
    (warning,) = config.warnings
    assert warning.startswith('environment variable REDIS_URL: coordination.redis_url = "memcached://')
    assert SECRET not in warning + repr(config)
    config = build("redis://ours", REDIS_URL="memcached://theirs", COORDD_MODE="redis")
    assert (config.coordination.redis_url, config.coordination.redis_writable) == ("redis://ours", True)
    assert len(config.warnings) == 1


def test_a_redis_url_that_cannot_be_used_is_an_error_where_nothing_else_leads_to_a_redis() -> None:
    with pytest.raises(ConfigError, match=r"^environment variable REDIS_URL: coordination\.redis_url"):
        build(REDIS_URL="memcached://theirs", COORDD_MODE="redis")
    with pytest.raises(ConfigError, match=r"^environment variable COORDD_REDIS_URL"):
        build(COORDD_REDIS_URL="memcached://theirs")


def test_check_config_tells_of_it_and_accepts_the_configuration(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COORDD_")}
    done = subprocess.run(
        [sys.executable, "-m", "coordd", "check-config", "--workspace", str(tmp_path)],
        env={**environ, "REDIS_URL": "memcached://theirs", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "redis_url is not set" in done.stdout) == (0, True)
    assert done.stderr.startswith("coordd: warning: environment variable REDIS_URL: ")


def test_a_redis_url_is_not_even_looked_at_where_redis_is_left_out() -> None:
    config = build(REDIS_URL="memcached://theirs", COORDD_MODE="file")
    assert (config.coordination.redis_url, config.warnings) == (None, ())


SECRET = "hunter2"


@pytest.mark.parametrize(
    "environ",
    [
        {"REDIS_URL": f"memcached://u:{SECRET}@h", "COORDD_MODE": "redis"},
        {"COORDD_REDIS_URL": f"redis://u:{SECRET}@h:port"},
        {"COORDD_REDIS_URL": f"redis://u:{SECRET}@[h"},
        {"COORDD_REDIS_URL": f":{SECRET}@h"},
        {"COORDD_REDIS_URL": f"redis://h?password={SECRET}"},
        {"COORDD_REDIS_ULR": f"redis://u:{SECRET}@h"},
        {"COORDD_MODE": f"redis://u:{SECRET}@h"},
        {"COORDD_LOG_DIR": f"redis://u:{SECRET}@h"},
        {"COORDD_AGENTS_TIMEOUT": f"redis://u:{SECRET}@h"},
    ],
)
def test_no_error_shows_a_password(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(**environ)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {vars(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    "text",
    [
        f"[coordination]\nredis_url = ['redis://u:{SECRET}@h']",
        f"[coordination]\nredis_url = {{url = 'redis://u:{SECRET}@h'}}",
        f"[coordination]\nredis = 'redis://u:{SECRET}@h'",
        f"redis_url = 'redis://u:{SECRET}@h'",
        f"coordination = 'redis://u:{SECRET}@h'",
        f"[coordination]\nredis_url = 'redis://u:{SECRET}@h",
        f"[coordination]\nworkspaces = ['redis://u:{SECRET}@h']",
    ],
)
def test_no_error_and_no_problem_of_a_file_shows_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(layout=LAYOUT, file_text=text, file_name="f", environ={}, flags={}, trusted=True)
    assert SECRET not in f"{caught.value} {vars(caught.value)}"
    config = build_config(layout=LAYOUT, file_text=text, file_name="f", environ={}, flags={}, trusted=False)
    assert len(config.problems) == 1
    assert SECRET not in repr(config.problems)


CONTROLS = ["%0D%0A", "%0a", "%00", "%1b", "%7F", "%C2%85", "%C2%9b", "%E2%80%A8", "%E2%80%A9", "%09"]


@pytest.mark.parametrize("control", [*CONTROLS, "\r\n", "\n", "\t", "\0", "\x7f", "\x85", "\u2028", "\udc0a"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://a{}b:pw@localhost/0",
        "redis://ann:a{}b@localhost/0",
        "redis://:{}@localhost",
        "redis://ann@local{}host",
        "redis://localhost{}",
        "redis://localhost:6379{}/0",
        "redis://localhost/0{}",
        "redis://localhost/0?db={}1",
        "redis://localhost?{}db=1",
        "rediss://localhost?ssl_ca_certs=/etc/{}ca.pem",
        "unix://ann{}:pw@/run/r.sock",
        "unix://:pw{}@/run/r.sock",
        "unix:///run/r{}.sock",
        "unix:///run/r.sock?db=1{}",
        "redis://localhost#{}",
        "{}redis://localhost",
        "redis{}://localhost",
    ],
)
def test_no_part_of_a_url_holds_a_control_character_however_it_is_written(url: str, control: str) -> None:
    with pytest.raises(ValueError, match="without control characters"):
        check_redis_url(url.format(control))


@pytest.mark.parametrize("name", ["redis_url", "REDIS_URL", "COORDD_REDIS_URL"])
def test_no_source_gives_such_a_url(name: str) -> None:
    url = "redis://a%0D%0Adelete%20key:x@localhost"
    with pytest.raises(ConfigError, match="without control characters"):
        build(url) if name == "redis_url" else build(**{name: url, "COORDD_MODE": "redis"})


def test_what_is_encoded_twice_is_decoded_once() -> None:
    target = parse_target(check_redis_url("redis://a%250D%250Ab:c%2500@localhost"))
    assert (target.username, target.password) == ("a%0D%0Ab", "c%00")


@pytest.mark.parametrize("part", ["host", "username", "password", "path"])
def test_no_target_holds_a_control_character_whoever_made_it(part: str) -> None:
    parts = {"host": "h", "username": "u", "password": "p", "path": None, part: "a\r\nb"}
    with pytest.raises(ValueError, match="without control characters"):
        RedisTarget(port=1, **parts)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text(max_size=12), st.text(max_size=12), st.booleans())
def test_whatever_url_is_taken_leads_to_no_control_character(user: str, path: str, raw: bool) -> None:
    written = [part if raw else quote(part, safe="") for part in (user, path)]
    try:
        target = parse_target(check_redis_url(f"unix://{written[0]}:pw@/{written[1]}"))
    except ValueError:
        return
    assert not any(has_controls(part or "") for part in (target.username, target.password, target.path))


def test_neither_repr_nor_the_effective_values_show_it() -> None:
    config = build(f"redis://u:{SECRET}@h")
    assert SECRET in str(config.coordination.redis_url)
    assert SECRET not in repr(config)
    assert SECRET not in repr(list(effective(config)))
    assert "redis://u:***@h" in repr(config)


@settings(deadline=None)
@given(
    st.from_regex(r"[a-z]{0,8}(://)?", fullmatch=True),
    st.text(max_size=20),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_whatever_stands_around_it_a_password_is_hidden(
    scheme: str, user: str, before: str, after: str
) -> None:
    url = f"{scheme}{user}:{before}{SECRET}{after}@host"
    assert SECRET not in public_url(url)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("ssl_ca_certs=ca.pem", "an absolute path for ssl_ca_certs"),
        ("ssl_certfile=~/c.pem", "an absolute path for ssl_certfile"),
        ("ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs in the URL to be required or optional or none"),
        ("ssl_check_hostname=off", "ssl_check_hostname in the URL to be true or false"),
        ("ssl_ca_certs=/a&ssl_ca_certs=/b", "ssl_ca_certs once"),
        ("ssl_version=3", "unknown option 'ssl_version'"),
    ],
)
def test_an_option_for_tls_that_would_be_misread_is_refused(options: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_redis_url(f"rediss://host?{options}")
    with pytest.raises(ValueError, match="unknown option"):
        check_redis_url(f"redis://host?{options}")


def test_where_a_url_leads() -> None:
    target = parse_target("redis://ann:p%40ss%2F@[::1]:7000/3")
    assert (target.host, target.port, target.path, target.database) == ("::1", 7000, None, 3)
    assert (target.username, target.password, target.tls) == ("ann", "p@ss/", None)
    assert set(target.secrets) == {"p@ss/", "p%40ss%2F"}
    assert not any(secret in repr(target) for secret in target.secrets)
    target = parse_target("unix://:pw@/run/my%20redis.sock?db=2")
    assert (target.path, target.database, target.username) == ("/run/my redis.sock", 2, None)
    assert parse_target("redis://host").port == 6379


def test_the_options_for_tls_and_what_they_mean() -> None:
    assert parse_target("rediss://host").tls == Tls()
    files = "ssl_ca_certs=/ca&ssl_ca_path=/d&ssl_certfile=/c&ssl_keyfile=/k"
    assert parse_target(f"rediss://host?{files}").tls == Tls("/ca", "/d", "/c", "/k")
    unchecked = parse_target("rediss://host?ssl_cert_reqs=none&ssl_check_hostname=true").tls
    assert unchecked == Tls(verify=False, check_hostname=False)
    assert parse_target("rediss://host?ssl_check_hostname=false").tls == Tls(check_hostname=False)
