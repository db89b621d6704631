-- Rows for a table of any format: full, bare and removed, and what was told of one.
insert into apps (name, version, scale, repo, path, env, build_env, health, health_timeout, follow,
    redeploy, status, load_balancer, reason, revision, healthy, generation, target, seq, changed_at)
    values
    ('full', 'main', 2, 'https://example.com/full.git', 'web', '{"GREETING":"hello"}',
    '{"MODE":"release"}', '/health', 90, 1, 7, 'deployed', 'http://full.localhost:8080',
    '1 of 2 instances answer', 'cccccccccccccccccccccccccccccccccccccccc', 1,
    'v1-00000000000000000000000000000001', 'v1-00000000000000000000000000000002', 41,
    '2026-11-02T10:00:00.000Z'),
    ('bare', 'v1.0', 1, null, null, null, null, null, null, null, null, null, null, null, null,
    null, null, null, null, null),
    ('gone', 'main', 1, null, null, null, null, null, null, null, null, 'deployed', null, null,
    null, 1, null, null, 3, '2026-11-01T10:00:00.000Z');
insert into history (name, at, generation, version, repo, revision, scale, status, reason, env,
    target) values
    ('full', '2026-11-02T10:00:00.000Z', 'v1-00000000000000000000000000000001', 'main',
    'https://example.com/full.git', 'cccccccccccccccccccccccccccccccccccccccc', 2, 'deployed', null,
    'v1-00000000000000000000000000000003', 'v1-00000000000000000000000000000002');
delete from apps where name = 'gone';
