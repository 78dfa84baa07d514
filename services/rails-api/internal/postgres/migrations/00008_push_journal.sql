-- +goose Up

-- Pushes that gitaly gave an identity. A push may be reported more than once: only the report that makes the row counts.
-- Rows are forgotten after a month.
CREATE TABLE push_ids (
    project_id bigint NOT NULL CONSTRAINT push_ids_project_fkey REFERENCES projects ON DELETE CASCADE,
    push_id    uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT push_ids_pkey PRIMARY KEY (project_id, push_id)
);
CREATE INDEX push_ids_created_idx ON push_ids (created_at);

-- The branches and tags as the recorded pushes left them, which is what a repository should hold: where each points and pointed
-- before, '' for nothing, and by which event. What is deleted is kept for a month, for reports that come late.
-- reconciled: the event was found by comparing; the report of its push, if it comes, is not an event of its own.
CREATE TABLE project_refs (
    project_id    bigint NOT NULL CONSTRAINT project_refs_project_fkey REFERENCES projects ON DELETE CASCADE,
    ref           text COLLATE "C" NOT NULL,
    before_oid    text NOT NULL,
    oid           text NOT NULL,
    push_event_id bigint NOT NULL,
    reconciled    boolean NOT NULL DEFAULT false,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT project_refs_pkey PRIMARY KEY (project_id, ref)
);
CREATE INDEX project_refs_reconciled_idx ON project_refs (project_id) WHERE reconciled;
CREATE INDEX project_refs_deleted_idx ON project_refs (updated_at) WHERE oid = '';

-- Of projects that were pushed to before, the references are not known until they are first compared.
ALTER TABLE projects ADD COLUMN refs_known boolean NOT NULL DEFAULT true;
ALTER TABLE projects ADD COLUMN refs_differ_since timestamptz;
UPDATE projects SET refs_known = false WHERE NOT empty_repo;

ALTER TABLE push_events DROP CONSTRAINT push_events_protocol_check;
ALTER TABLE push_events ADD CONSTRAINT push_events_protocol_check CHECK (protocol IN ('ssh', 'http', 'web', 'reconciler'));

-- +goose Down
DELETE FROM push_events WHERE protocol = 'reconciler';
ALTER TABLE push_events DROP CONSTRAINT push_events_protocol_check;
ALTER TABLE push_events ADD CONSTRAINT push_events_protocol_check CHECK (protocol IN ('ssh', 'http', 'web'));
ALTER TABLE projects DROP COLUMN refs_known, DROP COLUMN refs_differ_since;
DROP TABLE project_refs, push_ids;
