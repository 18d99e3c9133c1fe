-- Schema version 1 as rollcall 0.1.0 makes it, with a little in it: see tests/it/schema.rs.
PRAGMA foreign_keys = OFF;
BEGIN;
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
CREATE TABLE epoch (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;
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
CREATE TABLE link (
    hash    BLOB    PRIMARY KEY, -- SHA-256 of what stands in the URL
    tenant  INTEGER REFERENCES tenant ON DELETE CASCADE,   -- NULL: sets up
    account INTEGER REFERENCES account ON DELETE CASCADE,
    person  INTEGER REFERENCES resource ON DELETE CASCADE, -- a User
    expires INTEGER NOT NULL
) STRICT;
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
CREATE TABLE app_host (
    host    TEXT    PRIMARY KEY, -- in lower case, with a port if its address has one; unique in the whole file: a request names no tenant
    tenant  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    role    INTEGER REFERENCES role ON DELETE CASCADE, -- at least this one; NULL: any. Without its role nobody gets in
    teams   TEXT    NOT NULL DEFAULT '', -- ids of teams, with spaces between: one of them; '': any or none
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE app_session (
    hash    BLOB    PRIMARY KEY, -- SHA-256 of what the ticket or the cookie holds
    tenant  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
    host    TEXT    NOT NULL REFERENCES app_host ON DELETE CASCADE,
    browser BLOB,    -- of a ticket: SHA-256 of the cookie that must come with it
    expires INTEGER  -- of a ticket, which works once; NULL: a cookie's
) STRICT;
CREATE TABLE role (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant         INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name           TEXT    NOT NULL,
    rank           INTEGER NOT NULL, -- 1 is the highest; without gaps
    opens_settings INTEGER NOT NULL, -- 0 or 1
    UNIQUE (tenant, name)
) STRICT;
CREATE TABLE role_value (
    tenant INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    value  TEXT    NOT NULL,
    role   INTEGER NOT NULL REFERENCES role,
    PRIMARY KEY (tenant, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE role_group (
    tenant   INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name_key TEXT    NOT NULL, -- folded
    name     TEXT    NOT NULL, -- as the operator wrote it
    role     INTEGER NOT NULL REFERENCES role,
    PRIMARY KEY (tenant, name_key)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE password (
    person  INTEGER PRIMARY KEY REFERENCES resource ON DELETE CASCADE, -- a User
    tenant  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    hash    TEXT    NOT NULL, -- argon2id, as a PHC string
    changed INTEGER NOT NULL
) STRICT;
CREATE TABLE tally (
    tenant INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    kind   TEXT    NOT NULL,
    block  INTEGER NOT NULL, -- row >> 10
    live   INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, block)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursor_key (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB    NOT NULL CHECK (length(key) = 32)
) STRICT;
CREATE TABLE resource_value (
    tenant    INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    attribute TEXT    NOT NULL, -- its path: emails.value, displayName, urn:…:2.0:User:badge
    value     TEXT    NOT NULL, -- folded, or as it is where the attribute is caseExact
    resource  INTEGER NOT NULL, -- its row
    PRIMARY KEY (tenant, attribute, value, resource)
) STRICT, WITHOUT ROWID;
CREATE TABLE team_member (
    team   INTEGER NOT NULL REFERENCES resource ON DELETE CASCADE, -- a Group
    member INTEGER NOT NULL REFERENCES resource ON DELETE CASCADE, -- a User or a Group
    nested INTEGER NOT NULL, -- 0 or 1: whether the member is a Group
    joined INTEGER NOT NULL,
    PRIMARY KEY (team, member)
) STRICT, WITHOUT ROWID;
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
INSERT INTO tenant VALUES (1, 'acme', 'acme', 1796109754596, NULL, 5, 'accept', 'revive', 30, 20, 25, 90, 0, 1, NULL, '[]');
INSERT INTO token VALUES (1, 1, 'scim', 'SCIM', 'rcs_df642e', X'9301D53E189D63199FCF588E19158F4A41B76E80A6E5F7D29D9ADAA560D17425', 1796109754635, NULL, NULL, '', NULL, 1796109754737, 1796109754737, '127.0.0.1');
INSERT INTO token VALUES (2, 1, 'api', 'SCIM', 'rca_76fe7f', X'4ACA53EA5C6D3A98E4E510D06522D606B11A2DC258DFE9D0EB31F6C8D26136DC', 1796109754733, NULL, NULL, 'read', NULL, NULL, NULL, NULL);
INSERT INTO epoch VALUES (1, 3);
INSERT INTO account VALUES (1, 1, 'admin@example.org', 'admin@example.org', '$argon2id$v=19$m=19456,t=2,p=1$FZ4dWbBpY/trBNubmO/v5w$TCCCJPfwx1RZTjidC1/M71FgRqQh67FtYr14v9jr3N0', 1796109754680, 1796109754788, 0);
INSERT INTO session VALUES (1, 1, 1, NULL, X'895079432F53D0A362EEA78E75ACE54F58C3E3876DF12621F432113628EEAAA6', 1796109754788, 1796109754788, 'password', 1796109754788, '127.0.0.1', '', NULL);
INSERT INTO session VALUES (2, 1, NULL, 1, X'F771995846C271DC6E728C87D91E00874961D01D210B0598E6F1C3B11FEDEC66', 1796109754847, 1796109754847, 'password', 1796109754847, '127.0.0.1', '', NULL);
INSERT INTO link VALUES (X'6709171279759592E1BDD8C59F8672886C7AAF5F83793FCD1FA1DB9BE1C54B98', NULL, NULL, NULL, 1796111554590);
INSERT INTO role VALUES (1, 1, 'Admin', 1, 1);
INSERT INTO role VALUES (2, 1, 'Billing admin', 2, 0);
INSERT INTO role VALUES (3, 1, 'Team lead', 3, 0);
INSERT INTO role VALUES (4, 1, 'Responder', 4, 0);
INSERT INTO role VALUES (5, 1, 'Member', 5, 0);
INSERT INTO role_value VALUES (1, 'Admin', 1);
INSERT INTO role_value VALUES (1, 'Billing admin', 2);
INSERT INTO role_value VALUES (1, 'Boss', 1);
INSERT INTO role_value VALUES (1, 'Member', 5);
INSERT INTO role_value VALUES (1, 'Responder', 4);
INSERT INTO role_value VALUES (1, 'Team lead', 3);
INSERT INTO role_group VALUES (1, 'sre', 'SRE', 3);
INSERT INTO resource VALUES (1, 1, 'User', '01a2307b-e171-7000-91a0-94e9a6958021', 'ana@example.org', 'ana@example.org', 'a', 1, 'Boss', 1, 1796109754737, 1796109754737, 3, NULL, '{"active":true,"emails":[{"primary":true,"type":"work","value":"ana@example.org"}],"externalId":"a","roleName":"Boss","userName":"ana@example.org"}');
INSERT INTO resource VALUES (2, 1, 'User', '01a2307b-e18f-7000-a7eb-8263008e78f5', 'bob@example.org', 'bob@example.org', NULL, 1, NULL, 3, 1796109754767, 1796109754767, 2, NULL, '{"active":true,"title":"Züge","userName":"bob@example.org"}');
INSERT INTO resource VALUES (3, 1, 'User', '01a2307b-e190-7000-854e-de8858731e28', 'gone@example.org', 'gone@example.org', NULL, 1, NULL, 3, 1796109754768, 1796109754768, 3, 1796109754774, '{"active":true,"userName":"gone@example.org"}');
INSERT INTO resource VALUES (4, 1, 'Group', '01a2307b-e191-7000-aa1d-10f0799730be', 'sre', 'SRE', NULL, NULL, NULL, NULL, 1796109754769, 1796109754774, 4, NULL, '{"displayName":"SRE"}');
INSERT INTO resource VALUES (5, 1, 'Group', '01a2307b-e193-7000-a58c-1f39eeb79350', 'everybody', 'Everybody', NULL, NULL, NULL, NULL, 1796109754771, 1796109754771, 2, NULL, '{"displayName":"Everybody"}');
INSERT INTO password VALUES (1, 1, '$argon2id$v=19$m=19456,t=2,p=1$LpRw/j7kHuvH/49FaX5p3g$uQSlKQBDL7s8Cg90gHWDoV7z0+/y9dyrBHlYq4vjU/8', 1796109754737);
INSERT INTO cursor_key VALUES (1, X'53F3E2BC2296328C0BA85AD7B6F12F68B0FB6B8761A27EEC33471EAB6F25480D');
INSERT INTO resource_value VALUES (1, 'emails.value', 'ana@example.org', 1);
INSERT INTO team_member VALUES (4, 1, 0, 1796109754769);
INSERT INTO team_member VALUES (4, 2, 0, 1796109754773);
INSERT INTO team_member VALUES (4, 3, 0, 1796109754769);
INSERT INTO team_member VALUES (5, 4, 1, 1796109754771);
INSERT INTO exchange VALUES (1, 1, 1, 1796109754737, '127.0.0.1', '01a2307b-e171-7098-be32-9ebc0bbc7f80', 'POST', '/scim/v2/Users', 'create', 'created user ana@example.org', '01a2307b-e171-7000-91a0-94e9a6958021', 201, 8, 10, NULL, NULL, 28567, '[]', NULL, NULL);
INSERT INTO exchange VALUES (2, 1, 1, 1796109754767, '127.0.0.1', '01a2307b-e18f-71fe-ae40-2601b5c5c753', 'POST', '/scim/v2/Users', 'create', 'created user bob@example.org', '01a2307b-e18f-7000-a7eb-8263008e78f5', 201, 11, 12, NULL, NULL, 692, '[]', NULL, NULL);
INSERT INTO exchange VALUES (3, 1, 1, 1796109754768, '127.0.0.1', '01a2307b-e190-7682-a37b-fc88dced33e6', 'POST', '/scim/v2/Users', 'create', 'created user gone@example.org', '01a2307b-e190-7000-854e-de8858731e28', 201, 13, 14, NULL, NULL, 548, '[]', NULL, NULL);
INSERT INTO exchange VALUES (4, 1, 1, 1796109754769, '127.0.0.1', '01a2307b-e191-7815-9912-42de641c837e', 'POST', '/scim/v2/Groups', 'create', 'created team SRE with 2 members', '01a2307b-e191-7000-aa1d-10f0799730be', 201, 15, 18, NULL, NULL, 1228, '[]', NULL, NULL);
INSERT INTO exchange VALUES (5, 1, 1, 1796109754771, '127.0.0.1', '01a2307b-e193-76ad-82e2-6066334ceb51', 'POST', '/scim/v2/Groups', 'create', 'created team Everybody with 1 member', '01a2307b-e193-7000-a58c-1f39eeb79350', 201, 19, 20, NULL, NULL, 1091, '[]', NULL, NULL);
INSERT INTO exchange VALUES (6, 1, 1, 1796109754773, '127.0.0.1', '01a2307b-e195-72d2-bc92-17bff819e9a2', 'PATCH', '/scim/v2/Groups/01a2307b-e191-7000-aa1d-10f0799730be', 'change', 'added 1 member to team SRE', '01a2307b-e191-7000-aa1d-10f0799730be', 204, 21, 22, NULL, NULL, 765, '[]', NULL, NULL);
INSERT INTO exchange VALUES (7, 1, 1, 1796109754774, '127.0.0.1', '01a2307b-e196-7703-aeaf-3f3b0592f2ba', 'DELETE', '/scim/v2/Users/01a2307b-e190-7000-854e-de8858731e28', 'delete', 'deleted user gone@example.org', '01a2307b-e190-7000-854e-de8858731e28', 204, 23, 24, NULL, NULL, 1027, '[]', NULL, NULL);
INSERT INTO exchange VALUES (8, 1, 1, 1796109754776, '127.0.0.1', '01a2307b-e198-728f-a375-67eddc058476', 'POST', '/scim/v2/Users', 'create', 'refused to create a user', NULL, 409, NULL, NULL, 'uniqueness', 'userName "ana@example.org" belongs to another User already', 613, '[]', '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ana@example.org"}', '{"detail":"userName \"ana@example.org\" belongs to another User already","schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"scimType":"uniqueness","status":"409"}');
INSERT INTO event VALUES (1, 1, 1796109754596, 'operator', 'tenant.created', 'acme', NULL, NULL, '{"name":"acme"}');
INSERT INTO event VALUES (2, 1, 1796109754635, 'operator', 'token.created', '1', NULL, NULL, '{"expires":null,"for":"scim","name":"SCIM","prefix":"rcs_df642e","scopes":[]}');
INSERT INTO event VALUES (3, 1, 1796109754643, 'operator', 'setting.changed', 'password_sign_in', NULL, 'false', 'true');
INSERT INTO event VALUES (4, 1, 1796109754680, 'operator', 'account.created', '1', NULL, NULL, '{"email":"admin@example.org"}');
INSERT INTO event VALUES (5, 1, 1796109754688, 'operator', 'role.mapped', 'Boss', NULL, NULL, '{"by":"value","role":"Admin"}');
INSERT INTO event VALUES (6, 1, 1796109754695, 'operator', 'role.mapped', 'SRE', NULL, NULL, '{"by":"group","role":"Team lead"}');
INSERT INTO event VALUES (7, 1, 1796109754733, 'operator', 'token.created', '2', NULL, NULL, '{"expires":null,"for":"api","name":"SCIM","prefix":"rca_76fe7f","scopes":["read"]}');
INSERT INTO event VALUES (8, 1, 1796109754737, 'token:1', 'user.created', '01a2307b-e171-7000-91a0-94e9a6958021', NULL, NULL, '{"active":true,"emails":[{"primary":true,"type":"work","value":"ana@example.org"}],"externalId":"a","roleName":"Boss","userName":"ana@example.org"}');
INSERT INTO event VALUES (9, 1, 1796109754737, 'token:1', 'role.assigned', '01a2307b-e171-7000-91a0-94e9a6958021', NULL, NULL, '{"role":"Admin"}');
INSERT INTO event VALUES (10, 1, 1796109754737, 'token:1', 'user.password_changed', '01a2307b-e171-7000-91a0-94e9a6958021', NULL, NULL, '{"password":"set"}');
INSERT INTO event VALUES (11, 1, 1796109754767, 'token:1', 'user.created', '01a2307b-e18f-7000-a7eb-8263008e78f5', NULL, NULL, '{"active":true,"title":"Züge","userName":"bob@example.org"}');
INSERT INTO event VALUES (12, 1, 1796109754767, 'token:1', 'role.assigned', '01a2307b-e18f-7000-a7eb-8263008e78f5', NULL, NULL, '{"role":"Member"}');
INSERT INTO event VALUES (13, 1, 1796109754768, 'token:1', 'user.created', '01a2307b-e190-7000-854e-de8858731e28', NULL, NULL, '{"active":true,"userName":"gone@example.org"}');
INSERT INTO event VALUES (14, 1, 1796109754768, 'token:1', 'role.assigned', '01a2307b-e190-7000-854e-de8858731e28', NULL, NULL, '{"role":"Member"}');
INSERT INTO event VALUES (15, 1, 1796109754769, 'token:1', 'team.created', '01a2307b-e191-7000-aa1d-10f0799730be', NULL, NULL, '{"displayName":"SRE"}');
INSERT INTO event VALUES (16, 1, 1796109754769, 'token:1', 'member.added', '01a2307b-e191-7000-aa1d-10f0799730be', '01a2307b-e171-7000-91a0-94e9a6958021', NULL, NULL);
INSERT INTO event VALUES (17, 1, 1796109754769, 'token:1', 'member.added', '01a2307b-e191-7000-aa1d-10f0799730be', '01a2307b-e190-7000-854e-de8858731e28', NULL, NULL);
INSERT INTO event VALUES (18, 1, 1796109754769, 'token:1', 'role.assigned', '01a2307b-e190-7000-854e-de8858731e28', NULL, '{"role":"Member"}', '{"role":"Team lead"}');
INSERT INTO event VALUES (19, 1, 1796109754771, 'token:1', 'team.created', '01a2307b-e193-7000-a58c-1f39eeb79350', NULL, NULL, '{"displayName":"Everybody"}');
INSERT INTO event VALUES (20, 1, 1796109754771, 'token:1', 'subteam.added', '01a2307b-e193-7000-a58c-1f39eeb79350', '01a2307b-e191-7000-aa1d-10f0799730be', NULL, NULL);
INSERT INTO event VALUES (21, 1, 1796109754773, 'token:1', 'member.added', '01a2307b-e191-7000-aa1d-10f0799730be', '01a2307b-e18f-7000-a7eb-8263008e78f5', NULL, NULL);
INSERT INTO event VALUES (22, 1, 1796109754773, 'token:1', 'role.assigned', '01a2307b-e18f-7000-a7eb-8263008e78f5', NULL, '{"role":"Member"}', '{"role":"Team lead"}');
INSERT INTO event VALUES (23, 1, 1796109754774, 'token:1', 'member.removed', '01a2307b-e191-7000-aa1d-10f0799730be', '01a2307b-e190-7000-854e-de8858731e28', NULL, NULL);
INSERT INTO event VALUES (24, 1, 1796109754774, 'token:1', 'user.deleted', '01a2307b-e190-7000-854e-de8858731e28', NULL, '{"active":true,"userName":"gone@example.org"}', NULL);
INSERT INTO event VALUES (25, 1, 1796109754788, 'account:1', 'account.signed_in', '1', NULL, NULL, '{"address":"127.0.0.1","by":"password"}');
INSERT INTO event VALUES (26, 1, 1796109754847, 'person:01a2307b-e171-7000-91a0-94e9a6958021', 'user.signed_in', '01a2307b-e171-7000-91a0-94e9a6958021', NULL, NULL, '{"address":"127.0.0.1","by":"password"}');
INSERT INTO sqlite_sequence VALUES ('tenant', 1);
INSERT INTO sqlite_sequence VALUES ('role', 5);
INSERT INTO sqlite_sequence VALUES ('token', 2);
INSERT INTO sqlite_sequence VALUES ('account', 1);
INSERT INTO sqlite_sequence VALUES ('session', 2);
CREATE INDEX token_tenant ON token (tenant, kind, revoked);
CREATE INDEX token_person ON token (person) WHERE person IS NOT NULL;
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
CREATE INDEX account_tenant ON account (tenant);
CREATE INDEX session_account ON session (account) WHERE account IS NOT NULL;
CREATE INDEX session_person ON session (person) WHERE person IS NOT NULL;
CREATE INDEX session_tenant ON session (tenant);
CREATE INDEX session_provider ON session (tenant, provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX link_tenant ON link (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX link_account ON link (account) WHERE account IS NOT NULL;
CREATE INDEX link_person ON link (person) WHERE person IS NOT NULL;
CREATE UNIQUE INDEX connection_operators ON connection (directory) WHERE secret IS NULL;
CREATE INDEX sso_attempt_tenant ON sso_attempt (tenant);
CREATE INDEX sso_attempt_session ON sso_attempt (session) WHERE session IS NOT NULL;
CREATE INDEX sso_attempt_expires ON sso_attempt (expires);
CREATE INDEX identity_person ON identity (person);
CREATE INDEX app_host_tenant ON app_host (tenant);
CREATE INDEX app_host_role ON app_host (role) WHERE role IS NOT NULL;
CREATE INDEX app_session_session ON app_session (session);
CREATE INDEX app_session_host ON app_session (host);
CREATE INDEX app_session_tenant ON app_session (tenant);
CREATE UNIQUE INDEX resource_name ON resource (tenant, kind, name_key) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX resource_external_id ON resource (tenant, kind, external_id) WHERE deleted_at IS NULL;
CREATE INDEX resource_role ON resource (role, tenant, deleted_at) WHERE role IS NOT NULL;
CREATE INDEX resource_role_name ON resource (tenant, role_name, deleted_at) WHERE role_name IS NOT NULL;
CREATE INDEX resource_archived_name ON resource (tenant, kind, name_key, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX resource_archived_external_id ON resource (tenant, kind, external_id, deleted_at)
    WHERE deleted_at IS NOT NULL;
CREATE INDEX resource_order ON resource (tenant, kind, deleted_at, row, active);
CREATE INDEX resource_inactive ON resource (tenant, kind, deleted_at) WHERE active IS 0;
CREATE INDEX password_tenant ON password (tenant);
CREATE TRIGGER resource_goes AFTER UPDATE OF deleted_at ON resource
WHEN old.deleted_at IS NULL AND new.deleted_at IS NOT NULL BEGIN
    UPDATE tally SET live = live - 1 WHERE tenant = new.tenant AND kind = new.kind AND block = new.row >> 10;
END;
CREATE TRIGGER resource_returns AFTER UPDATE OF deleted_at ON resource
WHEN old.deleted_at IS NOT NULL AND new.deleted_at IS NULL BEGIN
    INSERT INTO tally (tenant, kind, block, live) VALUES (new.tenant, new.kind, new.row >> 10, 1)
        ON CONFLICT (tenant, kind, block) DO UPDATE SET live = live + 1;
END;
CREATE TRIGGER resource_is_purged AFTER DELETE ON resource WHEN old.deleted_at IS NULL BEGIN
    UPDATE tally SET live = live - 1 WHERE tenant = old.tenant AND kind = old.kind AND block = old.row >> 10;
END;
CREATE INDEX team_member_member ON team_member (member, team);
CREATE INDEX team_member_down ON team_member (team, member) WHERE nested;
CREATE INDEX team_member_up ON team_member (member, team) WHERE nested;
CREATE INDEX team_resource_team ON team_resource (team, id);
CREATE INDEX exchange_tenant ON exchange (tenant, seq, deed, subject);
CREATE INDEX exchange_deleting ON exchange (tenant, seq) WHERE deed = 'delete';
CREATE INDEX exchange_refused ON exchange (tenant, seq, at, status, deed) WHERE status >= 400;
CREATE INDEX exchange_subject ON exchange (tenant, subject, seq) WHERE subject IS NOT NULL AND deed <> 'read';
CREATE TRIGGER exchange_goes AFTER DELETE ON exchange WHEN old.seq > coalesce((SELECT max(seq) FROM exchange), 0) BEGIN
    INSERT INTO sqlite_sequence (name, seq)
        SELECT 'exchange', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'exchange');
    UPDATE sqlite_sequence SET seq = max(seq, old.seq) WHERE name = 'exchange';
END;
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
PRAGMA application_id = 1919904876;
PRAGMA user_version = 1;
COMMIT;
