-- The complete, newest schema of rollcall.db, and the dictionary of what is in it.
--
-- A new file gets this whole; an older one gets the steps in src/store/upgrade.rs, which also sets
-- application_id and user_version. Times are unix milliseconds. A `row` number is for joins inside the file
-- and never leaves it; what the outside knows is the `id`. "Folded" is full Unicode case folding after NFD.

-- An organisation. It owns everything below it, and deleting it deletes all of that.
CREATE TABLE tenant (
    id        INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: a late log line must not reach another tenant
    name      TEXT    NOT NULL,                  -- as the operator wrote it
    name_key  TEXT    NOT NULL UNIQUE,           -- folded name
    created   INTEGER NOT NULL,
    paused    INTEGER,                           -- since when SCIM is answered 503; NULL: it isn't

    -- Its live settings: a request reads them in its own transaction, so a change counts from the next one on.
    -- src/settings.rs says what each means.
    default_role    INTEGER REFERENCES role,                -- for who gets none otherwise; set with the tenant's roles
    unmapped_role   TEXT    NOT NULL DEFAULT 'accept' CHECK (unmapped_role IN ('accept', 'reject')),
    returning_team  TEXT    NOT NULL DEFAULT 'revive' CHECK (returning_team IN ('revive', 'fresh')),
    retention_days  INTEGER NOT NULL DEFAULT 30,            -- until what was removed is purged; 0: at once
    removal_count   INTEGER NOT NULL DEFAULT 20,            -- removals within an hour beyond which they are unusual
    removal_percent INTEGER NOT NULL DEFAULT 25,            -- the same, of what there was
    log_days        INTEGER NOT NULL DEFAULT 90,            -- until a line of the provisioning log is removed
    keep_bodies     INTEGER NOT NULL DEFAULT 0,             -- 0 or 1: whether lines of what succeeded keep the bodies
    password_sign_in INTEGER NOT NULL DEFAULT 0,            -- 0 or 1: whether people sign in by a password that was pushed
    unusual_since   INTEGER,                                -- when removals were unusual: nothing is purged since; NULL: they aren't

    -- The attributes that it adds to the schemas, as a JSON array of src/scim/declare.rs. One text, for it is read whole
    -- with each request, and what is made of it is kept under it.
    attributes      TEXT    NOT NULL DEFAULT '[]'
) STRICT;

-- A bearer token, of which only the hash is kept. Never deleted but with its tenant, so that the log can name it.
CREATE TABLE token (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant       INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    kind         TEXT    NOT NULL CHECK (kind IN ('scim', 'api', 'me')), -- what it opens; me: one user at /scim/v2/Me
    label        TEXT    NOT NULL,        -- the operator's name for it
    prefix       TEXT    NOT NULL,        -- its first characters, to tell tokens apart
    hash         BLOB    NOT NULL UNIQUE, -- SHA-256 of the whole token; its 256 random bits need no slow hash
    created      INTEGER NOT NULL,
    expires      INTEGER,                 -- NULL: never
    revoked      INTEGER,                 -- NULL: it isn't
    scopes       TEXT    NOT NULL DEFAULT '', -- with spaces between; of an API token: read, resources; of a user's own for /Me: whole
    person       INTEGER REFERENCES resource ON DELETE SET NULL, -- the user whose own token it is; revoked with them
    first_used   INTEGER,                 -- when a request with it was first answered and not refused
    last_used    INTEGER,                 -- to the minute, so that not every request writes this row
    last_address TEXT                     -- the client's address then
) STRICT;

-- Those of a kind that are not revoked, newest first; and the others by when they were.
CREATE INDEX token_tenant ON token (tenant, kind, revoked);
CREATE INDEX token_person ON token (person) WHERE person IS NOT NULL;

-- Raised with each change of a tenant or a token: what a connection knows of those outlasts all other commits
-- (src/store/known.rs). One row, or none before the first change.
CREATE TABLE epoch (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

CREATE TRIGGER tenant_changes AFTER UPDATE ON tenant BEGIN
    INSERT INTO epoch VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER tenant_goes AFTER DELETE ON tenant BEGIN
    INSERT INTO epoch VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER token_changes AFTER UPDATE ON token BEGIN
    INSERT INTO epoch VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER token_goes AFTER DELETE ON token BEGIN
    INSERT INTO epoch VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET number = number + 1;
END;

-- A local account: a way in that needs no provider. SCIM neither sees nor reaches it.
CREATE TABLE account (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant       INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    email        TEXT    NOT NULL,        -- as typed
    email_key    TEXT    NOT NULL UNIQUE, -- folded; unique in the whole file, because a sign-in names no tenant
    password     TEXT,                    -- argon2id, as a PHC string; NULL: only a sign-in link opens it
    created      INTEGER NOT NULL,
    last_sign_in INTEGER,
    break_glass  INTEGER NOT NULL DEFAULT 0 -- whether its password works where single sign-on is enforced
) STRICT;

CREATE INDEX account_tenant ON account (tenant);

-- A browser that is signed in, as a local account or as a person of the directory. Deleted when it ends; a person's are
-- deleted in the transaction that deactivates or deletes them.
CREATE TABLE session (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    account       INTEGER REFERENCES account ON DELETE CASCADE,
    person        INTEGER REFERENCES resource ON DELETE CASCADE, -- a User
    hash          BLOB    NOT NULL UNIQUE, -- SHA-256 of what the cookie holds
    created       INTEGER NOT NULL,
    last_seen     INTEGER NOT NULL,        -- to the minute
    method        TEXT    NOT NULL,        -- by what it began: password, link, setup, sso
    authenticated INTEGER NOT NULL,        -- when a password, a link or the provider last said who it is
    address       TEXT    NOT NULL,        -- the browser's when it signed in
    agent         TEXT    NOT NULL,        -- its User-Agent, cut
    provider_session TEXT,                 -- the provider's own session (sid), which can end it; NULL: none is known
    CHECK ((account IS NULL) <> (person IS NULL))
) STRICT;

CREATE INDEX session_account ON session (account) WHERE account IS NOT NULL;
CREATE INDEX session_person ON session (person) WHERE person IS NOT NULL;
CREATE INDEX session_tenant ON session (tenant);
CREATE INDEX session_provider ON session (tenant, provider_session) WHERE provider_session IS NOT NULL;

-- A link that works once: it sets rollcall up (no tenant yet), or signs an account or a person in. Deleted when used.
CREATE TABLE link (
    hash    BLOB    PRIMARY KEY, -- SHA-256 of what stands in the URL
    tenant  INTEGER REFERENCES tenant ON DELETE CASCADE,   -- NULL: sets up
    account INTEGER REFERENCES account ON DELETE CASCADE,
    person  INTEGER REFERENCES resource ON DELETE CASCADE, -- a User
    expires INTEGER NOT NULL
) STRICT;

CREATE INDEX link_tenant ON link (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX link_account ON link (account) WHERE account IS NOT NULL;
CREATE INDEX link_person ON link (person) WHERE person IS NOT NULL;

-- How people of a tenant sign in through its provider: at most one way for each tenant.
CREATE TABLE connection (
    tenant    INTEGER PRIMARY KEY REFERENCES tenant ON DELETE CASCADE,
    provider  TEXT    NOT NULL CHECK (provider IN ('entra', 'okta', 'google', 'oidc')),
    name      TEXT    NOT NULL, -- as people read it where they sign in
    issuer    TEXT    NOT NULL, -- the provider's, exactly (OpenID Connect Discovery 1.0 section 3)
    client_id TEXT    NOT NULL, -- what the provider calls us
    directory TEXT,             -- Entra ID: the directory (tenant) ID; Google: the domain; NULL: none
    secret    BLOB,             -- the client secret, sealed for this tenant, issuer and client_id (src/seal.rs); NULL: the
                                -- operator's application signs in, whose secret the server is started with
    created   INTEGER NOT NULL,
    changed   INTEGER NOT NULL,
    next_secret BLOB,           -- a newer one, sealed: it takes the other's place when it is first accepted; NULL: none
    connected INTEGER,          -- when somebody of the directory first came back from there; NULL: nobody yet, and it signs nobody in
    disabled  INTEGER,          -- since when it signs nobody in; NULL: it does
    domains   TEXT    NOT NULL DEFAULT '', -- e-mail domains of its people, with spaces between; '': any
    enforced          INTEGER NOT NULL DEFAULT 0, -- whether passwords of local accounts work no more, but for break-glass ones
    creates_people    INTEGER NOT NULL DEFAULT 0, -- whether who isn't provisioned is created when they sign in
    matches_user_name INTEGER NOT NULL DEFAULT 0  -- whether a user of the same userName is taken for who signs in
) STRICT;

-- Who agreed to the operator's application did so for the directory and for no tenant: it can be one tenant's alone.
CREATE UNIQUE INDEX connection_operators ON connection (directory) WHERE secret IS NULL;

-- A sign-in that was begun and hasn't come back from the provider. Deleted when it does; it works once and for 10 minutes.
CREATE TABLE sso_attempt (
    state     BLOB    PRIMARY KEY, -- SHA-256 of the state that comes back
    tenant    INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    browser   BLOB    NOT NULL,    -- SHA-256 made of what the browser's cookie holds: nobody else's may come back with it
    issuer    TEXT    NOT NULL,    -- of the connection as it was
    client_id TEXT    NOT NULL,
    nonce     TEXT    NOT NULL,    -- what the ID token has to say
    verifier  TEXT    NOT NULL,    -- PKCE's
    session   INTEGER REFERENCES session ON DELETE CASCADE, -- whose connection it proves; NULL: it signs in
    next      TEXT,                -- the page of ours that it leads to
    expires   INTEGER NOT NULL
) STRICT;

CREATE INDEX sso_attempt_tenant ON sso_attempt (tenant);
CREATE INDEX sso_attempt_session ON sso_attempt (session) WHERE session IS NOT NULL;
CREATE INDEX sso_attempt_expires ON sso_attempt (expires);

-- Which user somebody is who signs in through a provider. Never found by e-mail address: addresses change hands.
CREATE TABLE identity (
    tenant       INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    issuer       TEXT    NOT NULL, -- Entra ID's has the directory (tenant) ID in it
    subject      TEXT    NOT NULL, -- Entra ID's oid, else sub
    person       INTEGER NOT NULL REFERENCES resource ON DELETE CASCADE, -- a User
    linked       INTEGER NOT NULL,
    linked_by    TEXT    NOT NULL CHECK (linked_by IN ('externalId', 'userName', 'created')),
    last_sign_in INTEGER NOT NULL,
    PRIMARY KEY (tenant, issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX identity_person ON identity (person);

-- A host of an app whose proxy asks here, for each request, who somebody is; and who may open it.
CREATE TABLE app_host (
    host    TEXT    PRIMARY KEY, -- in lower case, with a port if its address has one; unique in the whole file: a request names no tenant
    tenant  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    role    INTEGER REFERENCES role ON DELETE CASCADE, -- at least this one; NULL: any. Without its role nobody gets in
    teams   TEXT    NOT NULL DEFAULT '', -- ids of teams, with spaces between: one of them; '': any or none
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX app_host_tenant ON app_host (tenant);
CREATE INDEX app_host_role ON app_host (role) WHERE role IS NOT NULL;

-- A browser at such a host, for the person whose session it is: it ends with that.
CREATE TABLE app_session (
    hash    BLOB    PRIMARY KEY, -- SHA-256 of what the ticket or the cookie holds
    tenant  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
    host    TEXT    NOT NULL REFERENCES app_host ON DELETE CASCADE,
    browser BLOB,    -- of a ticket: SHA-256 of the cookie that must come with it
    expires INTEGER  -- of a ticket, which works once; NULL: a cookie's
) STRICT;

CREATE INDEX app_session_session ON app_session (session);
CREATE INDEX app_session_host ON app_session (host);
CREATE INDEX app_session_tenant ON app_session (tenant);

-- A role of a tenant. Which one a user has is decided by src/access/roles.rs from the rows below.
CREATE TABLE role (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant         INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name           TEXT    NOT NULL,
    rank           INTEGER NOT NULL, -- 1 is the highest; without gaps
    opens_settings INTEGER NOT NULL, -- 0 or 1
    UNIQUE (tenant, name)
) STRICT;

-- Which role a value of roleName or roles.value gives, compared exactly.
CREATE TABLE role_value (
    tenant INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    value  TEXT    NOT NULL,
    role   INTEGER NOT NULL REFERENCES role,
    PRIMARY KEY (tenant, value)
) STRICT, WITHOUT ROWID;

-- Which role membership in a team gives, by the team's name: a row may be there before the team is.
CREATE TABLE role_group (
    tenant   INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name_key TEXT    NOT NULL, -- folded
    name     TEXT    NOT NULL, -- as the operator wrote it
    role     INTEGER NOT NULL REFERENCES role,
    PRIMARY KEY (tenant, name_key)
) STRICT, WITHOUT ROWID;

-- A SCIM User or Group. What the client sent is one JSON document, for three reasons: attributes are echoed
-- as they came, unknown extensions cost no columns, and a PATCH rewrites one value. The columns before it repeat
-- what is matched, joined or sorted by. Deleting sets deleted_at: every live query excludes those rows, and the
-- unique indexes don't see them, so a name is free again at once.
CREATE TABLE resource (
    row           INTEGER PRIMARY KEY,
    tenant        INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    kind          TEXT    NOT NULL CHECK (kind IN ('User', 'Group')),
    id            TEXT    NOT NULL UNIQUE, -- UUID v7, lower case; never reused
    name_key      TEXT    NOT NULL,        -- folded userName of a User, folded displayName of a Group
    display       TEXT    NOT NULL,        -- what memberships show: displayName, else userName
    external_id   TEXT,                    -- externalId, compared exactly; NULL: none, or an empty one
    active        INTEGER,                 -- active: 0 or 1; NULL: never said, which counts as active
    role_name     TEXT,                    -- roleName as sent
    role          INTEGER REFERENCES role, -- of a User, as decided; NULL for a Group
    created       INTEGER NOT NULL,
    last_modified INTEGER NOT NULL,
    version       INTEGER NOT NULL,        -- 1 at first, meta.version is made of it
    deleted_at    INTEGER,                 -- NULL: live
    document      TEXT    NOT NULL         -- JSON; last, so that its overflow pages are read only when it is
) STRICT;

CREATE UNIQUE INDEX resource_name ON resource (tenant, kind, name_key) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX resource_external_id ON resource (tenant, kind, external_id) WHERE deleted_at IS NULL;
-- These two cover counting who has a role and who has a value.
CREATE INDEX resource_role ON resource (role, tenant, deleted_at) WHERE role IS NOT NULL;
CREATE INDEX resource_role_name ON resource (tenant, role_name, deleted_at) WHERE role_name IS NOT NULL;
-- For who comes back under the name or externalId of an archived one: the last deleted.
CREATE INDEX resource_archived_name ON resource (tenant, kind, name_key, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX resource_archived_external_id ON resource (tenant, kind, external_id, deleted_at)
    WHERE deleted_at IS NOT NULL;
-- The order of a list, by row within these, and who of them is active. Not partial, because then it would not cover
-- "deleted_at IS NULL", and because ON DELETE CASCADE finds a tenant's rows by it.
CREATE INDEX resource_order ON resource (tenant, kind, deleted_at, row, active);
CREATE INDEX resource_inactive ON resource (tenant, kind, deleted_at) WHERE active IS 0;

-- A user's password, which SCIM sets and nothing returns. Beside the document, for that is shown, told in events and
-- searched. It is archived with its user, and a POST that brings the user back without one removes it.
CREATE TABLE password (
    person  INTEGER PRIMARY KEY REFERENCES resource ON DELETE CASCADE, -- a User
    tenant  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    hash    TEXT    NOT NULL, -- argon2id, as a PHC string
    changed INTEGER NOT NULL
) STRICT;

CREATE INDEX password_tenant ON password (tenant);

-- How many live resources there are in each block of 1,024 row numbers: their sum is totalResults of a whole list, and
-- adding them up finds where a page deep inside it begins. What came last isn't counted here yet: blocks are entered when
-- somebody comes into a later one (src/store/tally.rs). Triggers keep count in those that are.
CREATE TABLE tally (
    tenant INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    kind   TEXT    NOT NULL,
    block  INTEGER NOT NULL, -- row >> 10
    live   INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, block)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER resource_goes AFTER UPDATE OF deleted_at ON resource
WHEN old.deleted_at IS NULL AND new.deleted_at IS NOT NULL BEGIN
    UPDATE tally SET live = live - 1 WHERE tenant = new.tenant AND kind = new.kind AND block = new.row >> 10;
END;

-- One that was never live here, as in the copy of a tenant, may be the first of its block.
CREATE TRIGGER resource_returns AFTER UPDATE OF deleted_at ON resource
WHEN old.deleted_at IS NOT NULL AND new.deleted_at IS NULL BEGIN
    INSERT INTO tally (tenant, kind, block, live) VALUES (new.tenant, new.kind, new.row >> 10, 1)
        ON CONFLICT (tenant, kind, block) DO UPDATE SET live = live + 1;
END;

CREATE TRIGGER resource_is_purged AFTER DELETE ON resource WHEN old.deleted_at IS NULL BEGIN
    UPDATE tally SET live = live - 1 WHERE tenant = old.tenant AND kind = old.kind AND block = old.row >> 10;
END;

-- What seals cursors (src/provision/cursor.rs): one row, made with the file, so that a walk through a list goes on after
-- a restart.
CREATE TABLE cursor_key (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB    NOT NULL CHECK (length(key) = 32)
) STRICT;

-- Values that resources are found by and that no column has: e-mail addresses, which clients match on, display names,
-- which people search by, and the tenant's own attributes that are matching or unique. One row each. An index of the
-- documents, archived ones too: whoever writes or purges a document does the same here, by what it says
-- (src/store/resources.rs). So none is needed that finds these rows by their resource.
CREATE TABLE resource_value (
    tenant    INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    attribute TEXT    NOT NULL, -- its path: emails.value, displayName, urn:…:2.0:User:badge
    value     TEXT    NOT NULL, -- folded, or as it is where the attribute is caseExact
    resource  INTEGER NOT NULL, -- its row
    PRIMARY KEY (tenant, attribute, value, resource)
) STRICT, WITHOUT ROWID;

-- Who is in which team. Rows and never JSON, so that one member more costs the same in a team of three as in one
-- of 100,000. Rows of deleted teams and users stay until those are purged: a query joins live resources. A team may be
-- in a team, and whoever is in the one is in the other by that: no row says so, it is found along the rows of teams in
-- teams (src/store/nesting.rs). Those never lead back to where they began, not even through deleted teams.
CREATE TABLE team_member (
    team   INTEGER NOT NULL REFERENCES resource ON DELETE CASCADE, -- a Group
    member INTEGER NOT NULL REFERENCES resource ON DELETE CASCADE, -- a User or a Group
    nested INTEGER NOT NULL, -- 0 or 1: whether the member is a Group
    joined INTEGER NOT NULL,
    PRIMARY KEY (team, member)
) STRICT, WITHOUT ROWID;

CREATE INDEX team_member_member ON team_member (member, team);
-- The ways down and up through teams in teams, past all people: empty where there are none.
CREATE INDEX team_member_down ON team_member (team, member) WHERE nested;
CREATE INDEX team_member_up ON team_member (member, team) WHERE nested;

-- Something of an app's that belongs to a team: a monitor, a repository, a calendar. It shares its team's fate:
-- archived, restored, purged with it.
CREATE TABLE team_resource (
    id            TEXT    PRIMARY KEY,  -- UUID v7, lower case; never reused
    tenant        INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    team          INTEGER NOT NULL REFERENCES resource ON DELETE CASCADE, -- a Group
    kind          TEXT    NOT NULL,     -- the app's word for it
    name          TEXT    NOT NULL,
    url           TEXT,                 -- where a person opens it
    data          TEXT    NOT NULL,     -- JSON object of the app's
    created       INTEGER NOT NULL,
    last_modified INTEGER NOT NULL,
    version       INTEGER NOT NULL      -- 1 at first
) STRICT;

CREATE INDEX team_resource_team ON team_resource (team, id);

-- The provisioning log: one row for each SCIM request and its answer, refusals included. An administrator reads
-- it to learn why somebody is missing. Kept for the tenant's log_days, never updated, free of tokens and passwords.
CREATE TABLE exchange (
    seq           INTEGER PRIMARY KEY, -- the order of arrival in the log; never reused, see src/store/sequence.rs
    tenant        INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    token         INTEGER NOT NULL,  -- token.id that was shown
    at            INTEGER NOT NULL,
    address       TEXT    NOT NULL,  -- the client's
    request_id    TEXT    NOT NULL,  -- as in the answer's header and in the server's own log; a UUID v7 made at that time
    method        TEXT    NOT NULL,
    target        TEXT    NOT NULL,  -- path and query
    deed          TEXT    NOT NULL CHECK (deed = 'create' OR deed = 'change' OR deed = 'delete' OR deed = 'read'),
                                     -- what method and target ask for; an IN of four would be a table that each line makes
    action        TEXT    NOT NULL,  -- in words: deactivated user ana@example.com
    subject       TEXT,              -- id of the resource, where there is one
    status        INTEGER NOT NULL,  -- of the answer
    first_event   INTEGER,           -- event.seq of the first change that it made; NULL: it made none
    last_event    INTEGER,           -- … and of the last one; those between are its own, too
    scim_type     TEXT,              -- scimType of a refusal, where it has one
    detail        TEXT,              -- detail of a refusal
    duration_us   INTEGER NOT NULL,  -- microseconds
    ignored       TEXT    NOT NULL,  -- JSON array: what of the request had no effect
    request_body  TEXT,
    response_body TEXT
) STRICT;

-- What the log is looked through by, newest first. All but the one of subjects grow at their ends alone, and each is a page
-- of its own for a commit: so deletions have one, which are few, and what else is asked for by deed is found along the
-- first, as who was read is, and a request, whose id tells the time. Reads are most of most logs, so the index of subjects
-- is of the others. Refusals are few in most, so theirs can have all that a search decides by.
CREATE INDEX exchange_tenant ON exchange (tenant, seq, deed, subject);
CREATE INDEX exchange_deleting ON exchange (tenant, seq) WHERE deed = 'delete';
CREATE INDEX exchange_refused ON exchange (tenant, seq, at, status, deed) WHERE status >= 400;
CREATE INDEX exchange_subject ON exchange (tenant, subject, seq) WHERE subject IS NOT NULL AND deed <> 'read';

CREATE TRIGGER exchange_goes AFTER DELETE ON exchange WHEN old.seq > coalesce((SELECT max(seq) FROM exchange), 0) BEGIN
    INSERT INTO sqlite_sequence (name, seq)
        SELECT 'exchange', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'exchange');
    UPDATE sqlite_sequence SET seq = max(seq, old.seq) WHERE name = 'exchange';
END;

-- The feed: one row for each change of a user, team, membership, role, team resource, token or setting, written in
-- the transaction that makes it. Never updated, so who stored the last seq misses nothing and sees nothing twice.
CREATE TABLE event (
    seq     INTEGER PRIMARY KEY, -- a reader's place in the feed; never reused, see src/store/sequence.rs
    tenant  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL, -- who made it: token:3 (a client), app:4, operator, rollcall
    kind    TEXT    NOT NULL, -- user.created, team.deleted, member.added, …
    subject TEXT    NOT NULL, -- what it happened to: a resource's id, a role's or setting's name
    object  TEXT,             -- the other party: the member's id, the team resource's team
    before  TEXT,             -- JSON, NULL where there was nothing
    after   TEXT              -- JSON, NULL where there is nothing now
) STRICT;

-- The kinds that most events are of have no index: they are found along all, by the first one.
CREATE INDEX event_tenant ON event (tenant, seq, kind);
CREATE INDEX event_subject ON event (tenant, subject, seq);
CREATE INDEX event_object ON event (tenant, object, seq) WHERE object IS NOT NULL;
CREATE INDEX event_kind ON event (tenant, kind, at)
    WHERE kind <> 'user.created' AND kind <> 'user.changed' AND kind <> 'role.assigned' AND kind <> 'member.added';

CREATE TRIGGER event_goes AFTER DELETE ON event WHEN old.seq > coalesce((SELECT max(seq) FROM event), 0) BEGIN
    INSERT INTO sqlite_sequence (name, seq)
        SELECT 'event', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'event');
    UPDATE sqlite_sequence SET seq = max(seq, old.seq) WHERE name = 'event';
END;

-- The product's view, for who opens the file with a reader of SQLite: stable names, only what is live, only active
-- people, times as ISO 8601 in UTC. Built-in functions alone, so that any reader can.
CREATE VIEW v_user AS
SELECT tenant.name AS tenant, person.id AS id,
       person.document ->> '$.userName' AS user_name, person.document ->> '$.displayName' AS display_name,
       person.document ->> '$.name.givenName' AS given_name, person.document ->> '$.name.familyName' AS family_name,
       (SELECT value ->> '$.value' FROM json_each(person.document, '$.emails')
        ORDER BY coalesce(value ->> '$.type', '') = 'work' DESC, coalesce(value ->> '$.primary', 0) DESC, key
        LIMIT 1) AS email, -- of type work, else the primary one, else the first
       person.external_id AS external_id, role.name AS role,
       strftime('%Y-%m-%dT%H:%M:%fZ', person.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', person.last_modified / 1000.0, 'unixepoch') AS last_modified
FROM resource AS person JOIN tenant ON tenant.id = person.tenant LEFT JOIN role ON role.id = person.role
WHERE person.kind = 'User' AND person.deleted_at IS NULL AND person.active IS NOT 0;

-- Who is in which team: as its member, or by way of a team that is in it (direct = 0), each once.
CREATE VIEW v_team_member AS
WITH RECURSIVE inside (team, below) AS ( -- each live team that has teams, and each live one in it at whatever depth
    SELECT link.team, link.member FROM team_member AS link
    JOIN resource AS team ON team.row = link.team AND team.deleted_at IS NULL
    JOIN resource AS other ON other.row = link.member AND other.deleted_at IS NULL
    WHERE link.nested
    UNION
    SELECT inside.team, link.member FROM inside
    JOIN team_member AS link ON link.team = inside.below AND link.nested
    JOIN resource AS other ON other.row = link.member AND other.deleted_at IS NULL
), membership (team, member, joined, direct) AS (
    SELECT team, member, joined, 1 FROM team_member WHERE NOT nested
    UNION ALL
    SELECT inside.team, link.member, min(link.joined), 0 FROM inside
    JOIN team_member AS link ON link.team = inside.below AND NOT link.nested
    WHERE NOT EXISTS (SELECT 1 FROM team_member AS own WHERE own.team = inside.team AND own.member = link.member)
    GROUP BY inside.team, link.member
)
SELECT tenant.name AS tenant, team.id AS team, team.document ->> '$.displayName' AS team_name,
       person.id AS user, person.document ->> '$.userName' AS user_name,
       strftime('%Y-%m-%dT%H:%M:%fZ', joined / 1000.0, 'unixepoch') AS joined, direct
FROM membership
JOIN resource AS team ON team.row = membership.team AND team.deleted_at IS NULL
JOIN resource AS person ON person.row = member AND person.deleted_at IS NULL AND person.active IS NOT 0
JOIN tenant ON tenant.id = team.tenant;

-- Which team is in which, as its member.
CREATE VIEW v_team_in_team AS
SELECT tenant.name AS tenant, team.id AS team, team.document ->> '$.displayName' AS team_name,
       part.id AS part, part.document ->> '$.displayName' AS part_name,
       strftime('%Y-%m-%dT%H:%M:%fZ', joined / 1000.0, 'unixepoch') AS joined
FROM team_member
JOIN resource AS team ON team.row = team_member.team AND team.deleted_at IS NULL
JOIN resource AS part ON part.row = member AND part.deleted_at IS NULL
JOIN tenant ON tenant.id = team.tenant
WHERE nested;

CREATE VIEW v_team AS
SELECT tenant.name AS tenant, team.id AS id, team.document ->> '$.displayName' AS name, team.external_id AS external_id,
       (WITH RECURSIVE inside (row) AS (
            VALUES (team.row)
            UNION
            SELECT link.member FROM inside
            JOIN team_member AS link ON link.team = inside.row AND link.nested
            JOIN resource AS other ON other.row = link.member AND other.deleted_at IS NULL)
        SELECT count(DISTINCT person.row) FROM inside
        JOIN team_member AS link ON link.team = inside.row AND NOT link.nested
        JOIN resource AS person ON person.row = link.member
        WHERE person.deleted_at IS NULL AND person.active IS NOT 0) AS people, -- those of the teams in it as well
       (SELECT count(*) FROM team_resource WHERE team_resource.team = team.row) AS resources,
       strftime('%Y-%m-%dT%H:%M:%fZ', team.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', team.last_modified / 1000.0, 'unixepoch') AS last_modified
FROM resource AS team JOIN tenant ON tenant.id = team.tenant
WHERE team.kind = 'Group' AND team.deleted_at IS NULL;

CREATE VIEW v_role AS
SELECT tenant.name AS tenant, role.name AS name, rank, opens_settings
FROM role JOIN tenant ON tenant.id = role.tenant;
