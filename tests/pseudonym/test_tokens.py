"""A hardware token (SoftHSM) and a key server (OpenBao): what they hold, and what they refuse."""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path

import hvac
import pkcs11
import pytest

from pseudonym import errors
from pseudonym.keys import Keyset
from pseudonym.providers import Provider
from pseudonym.providers.pkcs11 import Pkcs11Provider
from pseudonym.providers.transit import TransitProvider


@pytest.fixture
def in_token(tmp_path, token):
    provider = Pkcs11Provider(token.module, token.label, token.pin)
    made = Keyset.create(tmp_path / "k", "attributes", provider)
    made.rotate_kek()
    return made


def of_token(token, *, module=None, label=None, pin=None):
    return Pkcs11Provider(module or token.module, label or token.label, pin or token.pin)


def session(token):
    return pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(user_pin=token.pin, rw=True)


def keys_in(opened, path):
    said = json.loads(path.read_text())["provider"]
    label = f"kinlink/attributes/{said['series']}"
    return list(opened.get_objects({pkcs11.Attribute.LABEL: label}))


def test_the_tokens_key_cannot_be_taken_out(in_token, token):
    with session(token) as opened:
        (key,) = keys_in(opened, in_token.path)
        attribute = pkcs11.Attribute
        assert (key[attribute.SENSITIVE], key[attribute.EXTRACTABLE]) == (True, False)
        assert (key[attribute.ALWAYS_SENSITIVE], key[attribute.NEVER_EXTRACTABLE]) == (True, True)
        assert (key[attribute.PRIVATE], key[attribute.TOKEN], key.key_length) == (True, True, 256)
        assert not any(
            key[one] for one in (attribute.WRAP, attribute.UNWRAP, attribute.SIGN, attribute.DERIVE)
        )
        with pytest.raises(pkcs11.AttributeSensitive):
            key[attribute.VALUE]


def test_a_renewal_leaves_one_key_in_the_token(in_token, token):
    with session(token) as opened:
        (before,) = [key[pkcs11.Attribute.ID] for key in keys_in(opened, in_token.path)]
    in_token.rotate_master()
    in_token.destroy(in_token.keys[0].kid)
    with session(token) as opened:
        (after,) = [key[pkcs11.Attribute.ID] for key in keys_in(opened, in_token.path)]
    assert after != before


def test_a_token_that_cannot_be_used_is_said(in_token, token, tmp_path):
    cases = [
        (of_token(token, pin="111111"), errors.PassphraseError, "The PIN is not the token's"),
        (of_token(token, label="another"), errors.ProviderError, "in another token"),
        (of_token(token, module=tmp_path / "none.so"), errors.ProviderError, "cannot be loaded"),
        (of_token(token, module=Path("/etc/passwd")), errors.ProviderError, "cannot be loaded"),
    ]
    before = in_token.path.read_bytes()
    for provider, kind, words in cases:
        with pytest.raises(kind, match=words):
            Keyset.open(in_token.path, provider)
    assert in_token.path.read_bytes() == before
    with pytest.raises(errors.ProviderError, match="There is no token 'another'"):
        Keyset.create(tmp_path / "new", "attributes", of_token(token, label="another"))
    assert not (tmp_path / "new").exists()


def test_without_its_key_the_keyset_does_not_open(in_token, token):
    with session(token) as opened:
        for key in keys_in(opened, in_token.path):
            key.destroy()
    with pytest.raises(errors.ProviderError, match="not in the token"):
        Keyset.open(in_token.path, of_token(token))


def test_a_key_that_can_be_taken_out_is_refused(in_token, token):
    said = json.loads(in_token.path.read_text())["provider"]
    with session(token) as opened:
        for key in keys_in(opened, in_token.path):
            key.destroy()
        opened.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
                pkcs11.Attribute.VALUE: bytes(32),
                pkcs11.Attribute.LABEL: f"kinlink/attributes/{said['series']}",
                pkcs11.Attribute.ID: bytes.fromhex(said["key"]),
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.EXTRACTABLE: True,
                pkcs11.Attribute.SENSITIVE: False,
                pkcs11.Attribute.DECRYPT: True,
            }
        )
    with pytest.raises(errors.ProviderError, match="can be taken out"):
        Keyset.open(in_token.path, of_token(token))


def test_a_pin_is_changed_at_the_token(in_token):
    with pytest.raises(errors.KeysetError, match="token's PIN"):
        in_token.change_passphrase("another one, long enough")


@pytest.mark.parametrize("missing", ["pkcs11", "hvac"])
def test_a_program_that_lacks_the_library_says_so(tmp_path, monkeypatch, missing):
    monkeypatch.setattr(
        f"pseudonym.providers.{'pkcs11' if missing == 'pkcs11' else 'transit'}.{missing}", None
    )
    providers: dict[str, Provider] = {
        "pkcs11": Pkcs11Provider(tmp_path / "so", "token", "1234"),
        "hvac": TransitProvider("https://127.0.0.1:1", "token", "key"),
    }
    with pytest.raises(errors.ProviderError, match=f"lacks .*{missing}"):
        Keyset.create(tmp_path / "k", "broker", providers[missing])
    assert not (tmp_path / "k").exists()


# --- key server ---------------------------------------------------------------------------------------------


@pytest.fixture
def name():
    return f"attributes-{secrets.token_hex(4)}"


@pytest.fixture
def in_server(tmp_path, key_server, name):
    made = Keyset.create(tmp_path / "k", "attributes", of_server(key_server, name))
    made.rotate_kek()
    return made


def of_server(server, name, *, token=None, **others):
    return TransitProvider(
        server.address, token or server.root, name, authorities=server.authorities, **others
    )


def test_the_servers_key_cannot_be_taken_out_and_has_one_version(in_server, key_server, name):
    for _ in range(3):
        in_server.rotate_master()
    said = json.loads(in_server.path.read_text())["provider"]
    state = key_server.client().secrets.transit.read_key(name=name)["data"]
    assert (state["type"], state["exportable"], state["allow_plaintext_backup"]) == (
        "aes256-gcm96",
        False,
        False,
    )
    assert list(state["keys"]) == [str(said["version"])] == ["4"]
    assert state["min_available_version"] == 4
    with pytest.raises(hvac.exceptions.InvalidRequest):
        key_server.client().secrets.transit.export_key(name=name, key_type="encryption-key")


def test_a_key_that_is_there_is_not_taken(in_server, key_server, name, tmp_path):
    with pytest.raises(errors.KeysetError, match=f"has a key '{name}' already"):
        Keyset.create(tmp_path / "second", "attributes", of_server(key_server, name))
    assert not (tmp_path / "second").exists()
    Keyset.open(in_server.path, of_server(key_server, name))


def test_a_server_that_cannot_be_used_is_said(in_server, key_server, name, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"https://127.0.0.1:{free.getsockname()[1]}"
    cases = [
        (of_server(key_server, name, token="s.wrong"), errors.PassphraseError, "refuses the token"),
        (of_server(key_server, "another"), errors.ProviderError, "under another key"),
        (
            of_server(key_server, name, mount="nowhere"),
            errors.ProviderError,
            "no transit engine|lacks the key",
        ),
        (TransitProvider(nobody, key_server.root, name), errors.ProviderError, "cannot be reached"),
        (TransitProvider(key_server.address, key_server.root, name), errors.ProviderError, "certificate"),
        (
            TransitProvider(key_server.address, key_server.root, name, authorities=tmp_path / "none"),
            errors.ProviderError,
            "no file of certificates",
        ),
        (
            TransitProvider(key_server.address.replace("https", "http"), key_server.root, name),
            errors.ProviderError,
            "answer|refuses|reached|does not open",
        ),
    ]
    before = in_server.path.read_bytes()
    for provider, kind, words in cases:
        with pytest.raises(kind, match=words) as caught:
            Keyset.open(in_server.path, provider)
        assert key_server.root not in str(caught.value)
    assert in_server.path.read_bytes() == before


def test_without_its_key_or_version_the_keyset_does_not_open(in_server, key_server, name, tmp_path):
    transit = key_server.client().secrets.transit
    copy = tmp_path / "copy"
    copy.write_bytes(in_server.path.read_bytes())
    copy.chmod(0o600)
    in_server.rotate_master()
    with pytest.raises(errors.ProviderError, match="older copy"):
        Keyset.open(copy, of_server(key_server, name))
    transit.update_key_configuration(name=name, deletion_allowed=True)
    transit.delete_key(name=name)
    with pytest.raises(errors.ProviderError, match="lacks the key"):
        Keyset.open(in_server.path, of_server(key_server, name))


def test_reading_needs_no_more_than_the_right_to_decrypt(in_server, key_server, name):
    client = key_server.client()
    client.sys.create_or_update_policy(
        name=name, policy=f'path "transit/decrypt/{name}" {{ capabilities = ["update"] }}'
    )
    weak = client.auth.token.create(policies=[name], no_parent=True)["auth"]["client_token"]
    reader = Keyset.open(in_server.path, of_server(key_server, name, token=weak), read_only=True)
    assert reader.keys == in_server.keys
    with pytest.raises(errors.PassphraseError, match="refuses the token, or what is asked"):
        Keyset.open(in_server.path, of_server(key_server, name, token=weak))


def test_the_rights_in_the_documentation_are_enough(key_server, name, tmp_path):
    client, rules = key_server.client(), []
    for path in ("encrypt/{}", "decrypt/{}", "keys/{}/rotate", "keys/{}/config", "keys/{}/trim"):
        rules.append(f'path "transit/{path.format(name)}" {{ capabilities = ["update"] }}')
    rules.append(f'path "transit/keys/{name}" {{ capabilities = ["create", "read", "update"] }}')
    client.sys.create_or_update_policy(name=name, policy="\n".join(rules))
    token = client.auth.token.create(policies=[name], no_parent=True)["auth"]["client_token"]
    made = Keyset.create(tmp_path / "k", "attributes", of_server(key_server, name, token=token))
    made.rotate_kek()
    made.rotate_master()
    assert Keyset.open(made.path, of_server(key_server, name, token=token)).keys == made.keys


def test_nothing_is_taken_from_the_environment(in_server, key_server, name, monkeypatch):
    for setting, value in {
        "VAULT_ADDR": "https://127.0.0.1:1", "VAULT_TOKEN": "s.env", "VAULT_NAMESPACE": "other",
        "HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1",
        "REQUESTS_CA_BUNDLE": "/nowhere", "VAULT_CACERT": "/nowhere", "VAULT_SKIP_VERIFY": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(setting, value)
    Keyset.open(in_server.path, of_server(key_server, name))
    with pytest.raises(errors.ProviderError, match="certificate"):
        Keyset.open(in_server.path, TransitProvider(key_server.address, key_server.root, name))


@pytest.mark.parametrize(
    "address",
    [
        "http://vault.example", "http://10.0.0.1:8200", "ftp://127.0.0.1", "vault.example:8200", "", "https://",
        "https://a:b@vault.example", "https://vault.example?x=1", "http://127.0.0.1.example",
    ],
)  # fmt: skip
def test_an_address_in_the_clear_is_refused(address):
    with pytest.raises(errors.InputError, match="address of a key server"):
        TransitProvider(address, "token", "key")


@pytest.mark.parametrize("key", ["", "a/b", "../sys", "a b", "-"])
def test_a_key_name_is_no_path(key):
    with pytest.raises(errors.InputError, match="name of a key"):
        TransitProvider("https://vault.example", "token", key)


def test_a_token_is_renewed_at_the_server(in_server):
    with pytest.raises(errors.KeysetError, match="token of the key server"):
        in_server.change_passphrase("another one, long enough")
