-- A table as the program of November 2026 made it.
create table if not exists apps (
    name text not null primary key,
    version text, scale integer, repo text, path text, env text, build_env text,
    health text, health_timeout integer, follow integer, redeploy integer,
    status text, load_balancer text, reason text, revision text, healthy integer,
    generation text, target text, seq integer, changed_at text
);
create table if not exists history (
    id integer primary key autoincrement,
    name text not null, at text not null, generation text, version text, repo text, revision text,
    scale integer, status text, reason text, env text, target text
);
create index if not exists history_by_name on history (name, id);
create table if not exists changes (id integer primary key autoincrement, name text not null);
create table if not exists deletions (name text not null primary key, at text not null);
create trigger if not exists apps_inserted after insert on apps begin
    insert into changes (name) values (new.name);
    delete from deletions where name = new.name;
end;
create trigger if not exists apps_deleted after delete on apps begin
    insert into changes (name) values (old.name);
    insert or replace into deletions (name, at)
        values (old.name, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));
end;
drop trigger if exists apps_renamed;
create trigger apps_renamed after update on apps when old.name is not new.name begin
    insert into changes (name) values (old.name);
    delete from deletions where name = new.name;
    insert or replace into deletions (name, at)
        values (old.name, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));
end;
create trigger if not exists apps_updated after update on apps when not (
    old.name is new.name and old.version is new.version and old.scale is new.scale
    and old.repo is new.repo and old.path is new.path and old.env is new.env
    and old.build_env is new.build_env and old.health is new.health
    and old.health_timeout is new.health_timeout and old.follow is new.follow
    and old.redeploy is new.redeploy and new.seq is ifnull(old.seq, 0) + 1
) begin
    insert into changes (name) values (new.name);
end;
