"""What must never become knowledge: secrets of every kind are left out, and code that only speaks of them is not."""

import sysconfig
from pathlib import Path

import pytest

from core.knowledge.secrets import LEFT_OUT, is_secret_file, redact, redact_patch
from tests.knowledge.knowledge_kit import Quay

RANDOM = "q7Zp2mXv9Lk4Tn8Rb3Ws6Yd1Hf5Jg0Ca"
"""Thirty-two characters that no word list holds; the secrets below are put together here, so that no scanner takes them for real."""

SECRETS = {
    "GitHub": "ghp" + "_" + RANDOM + "abcd",
    "GitHub, fine-grained": "github" + "_pat_" + RANDOM + RANDOM,
    "GitLab": "glpat" + "-" + RANDOM[:20],
    "AWS id": "AKIA" + RANDOM[:16].upper(),
    "OpenAI": "sk" + "-" + RANDOM,
    "OpenAI, project": "sk" + "-proj-" + RANDOM,
    "Anthropic": "sk" + "-ant-api03-" + RANDOM,
    "Slack": "xox" + "b-" + "123456789012-" + RANDOM[:24],
    "Google": "AIza" + RANDOM + "abc",
    "Stripe": "sk" + "_live_" + RANDOM[:24],
    "SendGrid": "SG" + "." + RANDOM[:22] + "." + RANDOM,
    "npm": "npm" + "_" + RANDOM + "abcd",
    "PyPI": "pypi" + "-" + RANDOM + RANDOM,
    "JSON web token": "eyJ" + RANDOM[:20] + ".eyJ" + RANDOM[:20] + "." + RANDOM,
    "Telegram": "123456789" + ":" + "AA" + RANDOM + "x",
    "Hugging Face": "hf" + "_" + RANDOM + "ab",
    "DigitalOcean": "dop" + "_v1_" + "0123456789abcdef" * 4,
    "Stripe, webhooks": "whsec" + "_" + RANDOM,
    "Google, client": "GOCSPX" + "-" + RANDOM[:28],
    "Google, access": "ya29" + "." + RANDOM + RANDOM,
    "Shopify": "shpat" + "_" + "0123456789abcdef" * 2,
    "Docker": "dckr" + "_pat_" + RANDOM[:27],
    "age": "AGE-SECRET-" + "KEY-1" + (RANDOM + RANDOM[:26]).upper(),
    "Slack, app": "xapp" + "-1-A0123-456-" + "0123456789abcdef" * 4,
    "Supabase": "sbp" + "_" + ("0123456789abcdef" * 3)[:40],
    "Linear": "lin" + "_api_" + RANDOM + "abcdefgh",
    "Atlassian": "ATATT3" + "xFfGF0" + RANDOM + RANDOM,
    "NVIDIA": "nvapi" + "-" + RANDOM + RANDOM,
    "Groq": "gsk" + "_" + RANDOM + RANDOM[:20],
    "xAI": "xai" + "-" + RANDOM + RANDOM,
    "Perplexity": "pplx" + "-" + RANDOM + RANDOM[:16],
    "Vault": "hvs" + "." + RANDOM + RANDOM,
    "Terraform": "abcdefghijklmn" + ".atlasv1." + RANDOM + RANDOM,
    "Entra": "abc" + "8Q~" + RANDOM + "ab",
    "Doppler": "dp" + ".pt." + RANDOM + "abcdefgh",
    "Grafana": "glsa" + "_" + RANDOM + "_abcd1234",
    "GitLab, runner": "glrt" + "-" + RANDOM[:20],
    "Notion": "ntn" + "_" + RANDOM + "0123456789abcd",
    "RubyGems": "rubygems" + "_" + "0123456789abcdef" * 3,
    "PlanetScale": "pscale" + "_tkn_" + RANDOM,
    "Azure": "AccountKey" + "=" + RANDOM + RANDOM + RANDOM[:22] + "==",
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("around", ["{}", 'key = "{}"', "curl -H 'authorization: Bearer {}' x", "- {}  # do not share"])
def test_no_known_kind_of_secret_gets_through(kind: str, around: str) -> None:
    secret = SECRETS[kind]
    told = redact(around.format(secret))
    assert RANDOM[:16].lower() not in told.lower()
    assert "0123456789abcdef0123" not in told
    assert LEFT_OUT in told


@pytest.mark.parametrize(
    "text",
    [
        "password = 'c0rrect-horse-battery'",
        'DB_PASSWORD: "s3cretsecretsecret"',
        "AWS_SECRET_ACCESS_KEY='abcd1234abcd1234abcd'",
        '{"client_secret": "abc123abc123abc123"}',
        "postgresql://crew:hunter2@db.example.org/app",
        "-----BEGIN " + "PRIVATE KEY-----\nMIIEabc\n-----END " + "PRIVATE KEY-----",
        "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\n\nlQdGBF\n-----END PGP " + "PRIVATE KEY BLOCK-----",
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n",
    ],
)
def test_what_is_assigned_to_a_secret_s_name_does_not_get_through(text: str) -> None:
    assert LEFT_OUT in redact(text)


@pytest.mark.parametrize(
    "text",
    ["password = getpass()", "token = tokens[position]", 'key = "name"', "https://example.org/a:b", "task-id = 'abc'"],
)
def test_plain_code_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


WORD, SHORT = "correct" + "horse", "hunter" + "2"
"""Passwords of people: nothing about them tells what they are, but where they stand."""

TOLD = [
    ("deploy.sh", f"export DB_PASSWORD={WORD}"),
    ("", f"export X_PASSWORD={SHORT}"),
    ("notes.md", f"```\nexport api_token='{WORD}'\n```"),
    ("notes.md", f"password: {SHORT}2"),
    ("", f"- DB password: `{SHORT}2`"),
    ("app.yml", f"db:\n  user: a\n  password: {WORD}"),
    ("app.yaml", f'password: "{SHORT}" # never share'),
    ("app.yml", f"x: {{user: a, password: {WORD}}}"),
    ("app.yml", f"private_key: |\n  {WORD}\n  {WORD}\nother: 1\n"),
    ("docker-compose.yml", f"environment:\n  - POSTGRES_PASSWORD={WORD}"),
    ("docker-compose.yml", f"    environment:\n      POSTGRES_PASSWORD: {WORD}\n"),
    (".github/workflows/x.yml", f"  NPM_TOKEN: {WORD}"),
    ("a.ini", f"[db]\npassword = {WORD}"),
    ("a.cfg", f"secret_key: {WORD}"),
    ("application.properties", f"spring.datasource.password={WORD}"),
    ("a.toml", f'token = "{WORD}"'),
    ("a.tfvars", f'db_password = "{WORD}"'),
    ("pom.xml", f"<password>{WORD}</password>"),
    ("Dockerfile", f"ENV DB_PASSWORD={WORD}\n"),
    ("Dockerfile", f"ENV DB_PASSWORD {WORD}\n"),
    ("Dockerfile", f"ENV A=1 DB_PASSWORD={WORD}"),
    ("Dockerfile", f"ARG NPM_TOKEN={WORD}"),
    ("qd.service", f"Environment=DB_PASSWORD={WORD}"),
    ("", f"docker run -e MYSQL_ROOT_PASSWORD={WORD} mysql"),
    ("a.sh", f"password={WORD}"),
    ("a.py", f"password = '{SHORT}'"),
    ("a.py", f'run("curl -u admin:{WORD} https://x")'),
    ("a.sh", f"curl -s \\\n  --user 'admin:{WORD}' https://x"),
    ("a.md", "Authorization: Basic " + "YWRtaW46Y29ycmVjdGhvcnNl"),
    ("a.py", 'headers = {"Authorization": "Basic ' + 'YWRtaW46Y29ycmVjdGhvcnNl"}'),
    ("a.http", f"authorization: bearer {WORD}{SHORT}"),
    ("a.py", f'url = "https://admin:{WORD}@host/x"'),
    ("", f"redis://:{SHORT}@cache:6379"),
    ("", f"https://u:p@ss:{WORD}@host/"),
    ("", "https://hooks.slack.com/" + f"services/T00000000/B00000000/{RANDOM[:24]}"),
    ("", "https://discord.com/" + f"api/webhooks/123456/{RANDOM}"),
]
KEPT = [
    ("a.py", "password = get_password()"),
    ("a.py", "connect(password=password, token=token)"),
    ("a.py", "PASSWORD=os.environ['X']"),
    ("a.py", "PASSWORD=settings.PASSWORD"),
    ("a.py", "f(API_KEY=API_KEY, x=1)"),
    ("a.py", "def f(password: str = '', token: str | None = None):"),
    ("a.py", 'headers["Authorization"] = f"Bearer {token}"'),
    ("a.py", "self.token = Token.EOF"),
    ("a.ts", "interface A { password: string; token: Token }"),
    ("a.js", "const token = req.headers.authorization;"),
    ("a.go", "password := cfg.Password"),
    ("a.rs", "let token = lexer.next_token();"),
    ("a.c", "#define TOKEN 5"),
    ("a.sh", "PASSWORD=$(cat x)"),
    ("a.sh", "export TOKEN=$OTHER"),
    ("a.sh", "PWD=/home/x"),
    ("Dockerfile", "ENV DB_PASSWORD=${X}"),
    ("a.yml", "token: ${{ secrets.GITHUB_TOKEN }}"),
    ("a.yml", "password: '{{ vault }}'"),
    ("a.yml", "password: !vault |"),
    ("a.yml", "password:\n  type: string\n"),
    ("a.yml", "max_tokens: 4096"),
    ("a.yml", "pass: true"),
    ("a.yml", "password_file: /run/secrets/x"),
    ("a.yml", "secretKeyRef:\n  name: x"),
    ("config/locales/en.yml", "password: Password"),
    ("a.ini", "password = ${DB_PASSWORD}"),
    ("a.ini", "password =\nuser = x"),
    ("a.properties", "token=%TOKEN%"),
    ("a.md", "Set the password: it is required."),
    ("a.md", "token: the word that opens"),
    ("a.md", "`Authorization: Bearer <token>`"),
    ("a.md", "PASSWORD=<your password>"),
    ("", "docker run -u 1000:1000 x; curl https://x"),
]


@pytest.mark.parametrize(("path", "text"), TOLD)
def test_a_password_is_known_by_where_it_stands(path: str, text: str) -> None:
    told = redact(text, path)
    assert LEFT_OUT in told
    assert not any(part in told for part in (WORD, SHORT, "Y29ycmVjdGhvcnNl", RANDOM[:20]))


@pytest.mark.parametrize(("path", "text"), KEPT)
def test_code_that_gets_a_password_stays_as_it_is(path: str, text: str) -> None:
    assert redact(text, path) == text


def test_files_of_secrets_are_known_by_their_names() -> None:
    secret = (
        "prod.env", "config/prod.env", ".env", "deploy/.env.production", ".envrc", ".git-credentials",
        ".docker/config.json", "secrets.properties", "infra/x.tfstate",
    )  # fmt: skip
    plain = (
        "app.env.example",
        ".env.sample",
        "example.env",
        "env.py",
        "docs/environment.md",
        "src/env/x.py",
        "x.properties",
    )
    assert [path for path in secret if not is_secret_file(path)] == []
    assert [path for path in plain if is_secret_file(path)] == []


def test_of_ordinary_code_nothing_is_taken_for_a_secret() -> None:
    root = Path(sysconfig.get_path("stdlib"))
    files = [path for room in ("asyncio", "http", "email", "urllib") for path in sorted((root / room).rglob("*.py"))]
    assert [path for path in files if redact(text := path.read_text(), path.name) != text] == []


async def test_secrets_of_settings_rule_files_and_commits_are_neither_indexed_nor_told(quay: Quay) -> None:
    repo = await quay.project(
        files={
            "prod.env": f"DB_PASSWORD={WORD}\n",
            "compose.yml": f"services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: {WORD}\n",
            "AGENTS.md": f"Run `export DB_PASSWORD={WORD}` first.\n",
            "src/a.py": "def moor():\n    pass\n",
        }
    )
    repo.commit({"src/a.py": "def moor(): ...\n"}, message=f"Set DB_PASSWORD={WORD} here")
    await quay.do("knowledge.index", project="app")
    assert await quay.sql.fetchval("select count(*) from memory where content like $1", f"%{WORD}%") == 0
    assert await quay.sql.fetchval("select skipped from indexed_file where path = 'prod.env'") == "secret"
    shown = await quay.do("context", task=await quay.task("Moor", path=("src/a.py",)), now=True)
    assert {"AGENTS.md", "2 commits"} <= {item.title for item in shown.items}
    assert WORD not in "\n".join(item.text for item in shown.items)


async def test_secrets_of_what_people_say_are_left_out_of_titles_too(quay: Quay) -> None:
    said = f"run it with DB_PASSWORD={WORD}"
    item = await quay.do("knowledge.add", text=(said,), title=said)
    decision = await quay.do("decision.add", question="How?", chosen=said)
    await quay.do("decision.edit", id=decision.number, note=said, lesson=said, question=said)
    lesson = await quay.do("lesson.add", error="it failed", fix=said)
    await quay.do("lesson.edit", id=lesson.number, title=said, rule=said)
    await quay.do("knowledge.edit", id=item.number, title=f"{said} again")
    for table in ("memory", "decision", "lesson"):
        rows = await quay.sql.fetch(f"select t::text as row from {table} t")
        assert WORD not in "".join(row["row"] for row in rows), table


@pytest.mark.parametrize(
    ("path", "patch"),
    [
        ("deploy/app.yaml", "@@ -1,2 +1,2 @@ password: {0}\n app: harbour\n-  password: old\n+  password: {0}"),
        ("deploy/app.yaml", "@@ -1,4 +1,4 @@\n password: |\n   first\n-  {0}\n+  {0}x\n   {0}y"),
        ("keys.txt", "@@ -1,3 +1,3 @@\n -----BEGIN RSA PRIVATE KEY-----\n-{0}\n+{0}x\n -----END RSA PRIVATE KEY-----"),
        (".netrc", "@@ -0,0 +1 @@\n+machine harbour login me password {0}"),
        ("notes.md", "@@ -0,0 +1 @@\n+password: {0}"),
    ],
)
def test_a_patch_holds_no_secret_that_its_file_would_not_be_known_with(path: str, patch: str) -> None:
    secret = "hunter2" + "long"
    assert secret not in redact_patch(patch.format(secret), path)


def test_of_a_patch_the_lines_stay_that_are_no_secret() -> None:
    patch = "@@ -1,3 +1,3 @@\n app: harbour\n-pilots: 2\n+pilots: 3\n token: ${TOKEN}\n\\ No newline at end of file"
    assert redact_patch(patch, "deploy/app.yaml") == patch
