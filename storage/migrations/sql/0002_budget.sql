-- Services, budgets and the ledger. Money is counted in whole micro-dollars (millionths of a USD), rounded up per call.
--
--   service   something that costs money per use; in what order they stand in for each other
--   budget    a rule: at most so much, per period, for one scope
--   account   the book of one budget in one period: what is spent and what is reserved; the only rows that calls contend for
--   charge    one entry of the ledger: reserved before the call, settled or released after it
--
-- Three rules carry it:
--   B1  spent and reserved of an account are the sums over the charges that name it. budget_reconcile() proves it.
--   B2  Locks: a charge before accounts, accounts in the order of their ids. Whoever reserves holds the shared lock of the rules,
--       whoever adds an account to charges that are there already holds it alone.
--   B3  A call that nobody knows the end of counts as spent in full until its late settle corrects it.

create table service (
  name text collate "C" primary key check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  id uuid not null unique default qd_uuid7(),
  provider text not null check (provider in ('anthropic', 'openai', 'gemini', 'other')),
  kind text not null default 'metered' check (kind in ('metered', 'quota')),   -- quota: a subscription; tokens, calls and runs count, dollars do not
  base_url text,                             -- null: the provider's own
  key_env text,                              -- the variable that the person's key was read from; the key itself is in the secret store
  catalogue text,                            -- whose price list holds its models; null: the provider's
  fallback text collate "C" references service (name) on update cascade on delete set null,
  models text[] not null default '{}',       -- globs of the models that it serves; empty: all of its protocol
  model_map jsonb not null default '{}',     -- glob of a model asked for → the model that this service speaks in its place
  prices jsonb not null default '{}',        -- glob of a model → its prices in USD per million tokens, before those of the list
  worst_price jsonb,                         -- what a model that no list knows is billed at; null: such a call is refused
  suspended boolean not null default false,
  suspended_reason text,
  exhausted_until timestamptz,               -- set when a call was refused for its budget, cleared by the next that is granted
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default now(),
  check (fallback <> name)
);
create trigger audit after insert or delete or update of provider, kind, base_url, fallback, models, model_map, prices, worst_price, suspended, suspended_reason
  on service for each row execute function qd_audit('name', 'updated_at', 'exhausted_until');

-- Health of a service, shared by all gateways and shown on the screen.
create table circuit (
  service text collate "C" primary key references service (name) on update cascade on delete cascade,
  state text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
  open_until timestamptz,
  failures int not null default 0,
  reason text,
  updated_at timestamptz not null default clock_timestamp()
);

create table budget (
  id bigint generated always as identity primary key,
  scope text not null check (scope in ('service', 'project', 'task', 'agent', 'day')),
  key text collate "C" not null,             -- name of the service, project or agent, number of the task; '*': each of them; '' for day
  unit text not null check (unit in ('usd', 'tokens', 'calls', 'runs')),
  period text not null check (period in ('month', 'week', 'day', 'total') or period ~ '^[1-9][0-9]{0,3}h$'),
  zone text not null default 'UTC',          -- in which days, weeks and months begin
  starts_on smallint not null default 1 check (starts_on between 1 and 28),    -- first day of its month
  hard bigint check (hard >= 0),             -- micro-dollars, tokens, calls or runs; null: counted, never stopped
  soft bigint check (soft >= 0),             -- alert, no stop
  thresholds int[] not null default '{50,80,100}',                             -- alerts at these percents of the hard limit, or of the soft one
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default now(),
  unique (scope, key, unit, period),
  check ((scope = 'day') = (key = '')),
  check (scope <> 'day' or period = 'day')
);
create trigger audit after insert or update or delete on budget for each row execute function qd_audit('id', 'updated_at');

create table account (
  id bigint generated always as identity primary key,
  budget bigint not null references budget (id) on delete cascade,
  key text collate "C" not null,             -- whose: under a budget for each task, the task
  unit text not null,
  starts timestamptz not null,
  ends timestamptz not null,
  hard bigint,                               -- the limit in force, with what a person has allowed on top of it
  extra bigint not null default 0,
  ceiling bigint,                            -- the backstop: the limit, or more where truth went beyond it (a limit lowered, a bound that did not hold)
  spent bigint not null default 0 check (spent >= 0),
  reserved bigint not null default 0 check (reserved >= 0),
  overrun bigint not null default 0,         -- what calls cost beyond what had been reserved for them
  next_alert bigint,
  constraint within_limit check (ceiling is null or spent + reserved <= ceiling),
  unique (budget, key, starts)
) with (fillfactor = 40, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);

create table gateway (
  id bigint generated always as identity primary key,
  name text not null,                        -- host and state folder; each process that serves it is a row of its own
  pid int not null,
  url text not null,
  version text not null,
  started_at timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null,
  swept boolean not null default false       -- nothing that it reserved is open any more
) with (fillfactor = 50);
create index gateway_name on gateway (name);

create table charge (
  id uuid primary key,                       -- given by whoever reserves, so that a reserve whose reply was lost can be repeated
  at timestamptz not null,
  service text collate "C",                  -- null: an agent's own account of calls that did not pass the gateway
  project text collate "C",
  task bigint,
  run bigint,
  agent text collate "C",
  gateway bigint,
  kind text not null default 'call' check (kind in ('call', 'reported', 'manual')),
  model text,                                -- that was asked of the service
  instead_of text,                           -- service/model that the caller meant, when this one stood in
  status text not null check (status in ('reserved', 'settled', 'released', 'presumed')),
  basis text check (basis in ('measured', 'estimated', 'imputed')),
  accounts bigint[] not null default '{}',
  counted bigint[] not null default '{}',    -- of these, the accounts of runs that count its run through it
  reserved_micro bigint not null default 0,
  reserved_tokens bigint not null default 0,
  cost_micro bigint not null default 0,
  tokens bigint not null default 0,          -- all classes; while presumed, what was reserved
  tokens_input bigint not null default 0,    -- five disjoint classes: input is what neither came from the cache nor went to it
  tokens_cache_read bigint not null default 0,
  tokens_cache_write_5m bigint not null default 0,
  tokens_cache_write_1h bigint not null default 0,
  tokens_output bigint not null default 0,
  tokens_thinking bigint not null default 0, -- part of the output
  actor text,
  note text,
  ended_at timestamptz
) with (fillfactor = 60);
-- No index names the status, so that a settle stays on its page: open charges are looked for only under gateways that are gone.
create index charge_at on charge (at);
create index charge_task on charge (task);
create index charge_gateway on charge (gateway);

create table run_token (
  hash bytea primary key,                    -- SHA-256 of 32 random bytes: nothing to guess, so nothing to slow down
  run bigint not null references run (number) on delete cascade,
  created_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz
);
create index run_token_run on run_token (run);

-- What the gateway has to say about a run. The engine that holds the run makes events of it: only it numbers events.
create table run_notice (
  id bigint generated always as identity primary key,
  run bigint not null references run (number) on delete cascade,
  at timestamptz not null default clock_timestamp(),
  kind text not null check (kind in ('fallback', 'budget', 'service')),  -- budget and service: the call was refused
  text text not null,
  data jsonb not null default '{}',
  taken_at timestamptz
);
create index run_notice_run on run_notice (run, id);
create index run_notice_open on run_notice (run) where taken_at is null;

-- Tasks that wait for a budget, and what would wake them.
create table budget_wait (
  task bigint primary key references task (number) on delete cascade,
  service text collate "C",                  -- the service that refused
  budget bigint references budget (id) on delete set null,
  key text collate "C" not null default '',  -- the account's key under that budget
  need bigint not null default 1,            -- in the budget's unit: the least that the refused call would have taken
  since timestamptz not null default clock_timestamp()
);

-- What a person should be told, once each. Open until somebody has seen it.
create table alert (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  kind text not null check (kind in ('threshold', 'soft', 'exhausted', 'suspended', 'down', 'outlier', 'forecast', 'overrun')),
  scope text not null,
  key text not null,
  level int not null default 0,              -- percent, for a threshold
  period_start timestamptz not null default '-infinity',
  text text not null,
  data jsonb not null default '{}',
  seen_by text,
  seen_at timestamptz,
  attempts int not null default 0,           -- of delivery to the outside
  next_try timestamptz not null default clock_timestamp(),
  delivered_at timestamptz,
  failure text
);
create unique index alert_once on alert (kind, scope, key, level, period_start);
create index alert_undelivered on alert (next_try) where delivered_at is null;
create index alert_unseen on alert (at) where seen_at is null;

-- Keys live in the secret store; the database knows only which exist. project '' is the shared set.
create table secret (
  project text collate "C" not null,
  name text collate "C" not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (project, name)
);
create trigger audit after insert or update or delete on secret for each row execute function qd_audit('name');
