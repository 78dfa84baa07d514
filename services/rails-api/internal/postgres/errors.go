package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gitsplit/kit/errs"
)

// FieldError says which field of a record is at fault and why, in the words an
// API shows beside that field.
type FieldError struct {
	Field string // "path", "username", …
	Msg   string // "has already been taken"
}

// Error returns the field followed by the message.
func (e *FieldError) Error() string { return e.Field + " " + e.Msg }

// Invalid returns an errs.Invalid about one field.
func Invalid(field, msg string) error { return fieldError(errs.Invalid, field, msg) }

func fieldError(kind errs.Kind, field, msg string) error {
	e := &FieldError{Field: field, Msg: msg}
	return errs.Wrap(kind, e.Error(), e)
}

// fault is what the violation of one named constraint means.
type fault struct {
	kind       errs.Kind
	field, msg string
}

const taken = "has already been taken"

// What people read when the database fails them.
const (
	down = "The database is not available at this time. Please try again later."
	busy = "The database is busy. Please try again."
)

func constraintFault(name string) (fault, bool) {
	f, ok := map[string]fault{
		"users_username_key":                       {errs.Exists, "username", taken},
		"users_email_key":                          {errs.Exists, "email", taken},
		"users_state_check":                        {errs.Invalid, "state", "is invalid"},
		"users_username_length_check":              {errs.Invalid, "username", "is too long or blank"},
		"users_name_length_check":                  {errs.Invalid, "name", "is too long or blank"},
		"users_email_length_check":                 {errs.Invalid, "email", "is invalid"},
		"ssh_keys_fingerprint_key":                 {errs.Exists, "fingerprint_sha256", taken},
		"ssh_keys_title_length_check":              {errs.Invalid, "title", "is too long or blank"},
		"ssh_keys_key_length_check":                {errs.Invalid, "key", "is too long"},
		"ssh_keys_usage_type_check":                {errs.Invalid, "usage_type", "does not have a valid value"},
		"personal_access_tokens_digest_key":        {errs.Exists, "token", taken},
		"personal_access_tokens_name_length_check": {errs.Invalid, "name", "is too long or blank"},
		"personal_access_tokens_scopes_check":      {errs.Invalid, "scopes", "can't be blank"},
		"namespaces_path_length_check":             {errs.Invalid, "path", "is too long or blank"},
		"namespaces_name_length_check":             {errs.Invalid, "name", "is too long or blank"},
		"namespaces_visibility_check":              {errs.Invalid, "visibility_level", "is invalid"},
		"namespaces_owner_fkey":                    {errs.Conflict, "owner", "still has a namespace"},
		"namespaces_parent_fkey":                   {errs.Conflict, "base", "the group still has subgroups, or its parent is gone"},
		"projects_namespace_fkey":                  {errs.Conflict, "namespace", "is gone, or still holds projects"},
		"projects_visibility_check":                {errs.Invalid, "visibility_level", "is invalid"},
		"projects_path_length_check":               {errs.Invalid, "path", "is too long or blank"},
		"projects_name_length_check":               {errs.Invalid, "name", "is too long or blank"},
		"routes_path_key":                          {errs.Exists, "path", taken},
		"members_namespace_user_key":               {errs.Exists, "user", "already exists in source"},
		"members_project_user_key":                 {errs.Exists, "user", "already exists in source"},
		"members_access_level_check":               {errs.Invalid, "access_level", "does not have a valid value"},
		"members_user_fkey":                        {errs.NotFound, "user", "not found"},
		"members_namespace_fkey":                   {errs.NotFound, "group", "not found"},
		"members_project_fkey":                     {errs.NotFound, "project", "not found"},
		"protected_branches_name_key":              {errs.Exists, "name", taken},
		"protected_branches_name_length_check":     {errs.Invalid, "name", "is too long or blank"},
		"protected_branches_project_fkey":          {errs.NotFound, "project", "not found"},
		"protected_branches_push_level_check":      {errs.Invalid, "push_access_level", "does not have a valid value"},
		"protected_branches_merge_level_check":     {errs.Invalid, "merge_access_level", "does not have a valid value"},
		"group_ssh_certificates_fingerprint_key":   {errs.Exists, "fingerprint", taken},
		"deploy_keys_projects_pkey":                {errs.Exists, "deploy_key", taken},
		"deploy_keys_projects_project_fkey":        {errs.NotFound, "project", "not found"},
		"lfs_objects_oid_key":                      {errs.Exists, "oid", taken},
		"lfs_objects_projects_project_fkey":        {errs.NotFound, "project", "not found"},
		"lfs_file_locks_path_key":                  {errs.Exists, "path", taken},
		"lfs_file_locks_path_length_check":         {errs.Invalid, "path", "is too long or blank"},
		"lfs_file_locks_project_fkey":              {errs.NotFound, "project", "not found"},
		"push_events_project_fkey":                 {errs.NotFound, "project", "not found"},
		"push_ids_project_fkey":                    {errs.NotFound, "project", "not found"},
		"project_refs_project_fkey":                {errs.NotFound, "project", "not found"},
	}[name]
	return f, ok
}

// Error turns a database error into one the caller can act on. what names the
// record: "user" gives "user not found". An error of this package passes through.
func Error(err error, what string) error {
	var pe *pgconn.PgError
	var classified *errs.Error
	switch {
	case err == nil, errors.As(err, &classified):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return errs.Wrap(errs.NotFound, what+" not found", err)
	case errors.As(err, &pe):
		return serverError(pe, what)
	case errors.Is(err, context.Canceled):
		return err
	case unreachable(err):
		return errs.Wrap(errs.Unavailable, down, err)
	}
	return err
}

func serverError(pe *pgconn.PgError, what string) error {
	if f, ok := constraintFault(pe.ConstraintName); ok {
		return fieldError(f.kind, f.field, f.msg)
	}
	switch {
	case strings.HasPrefix(pe.Code, "57P"), strings.HasPrefix(pe.Code, "53"), strings.HasPrefix(pe.Code, "08"),
		pe.Code == "57014", pe.Code == "55P03": // shutting down, out of something, cancelled, lock not available
		return errs.Wrap(errs.Unavailable, down, pe)
	case pe.Code == "40001", pe.Code == "40P01": // serialization failure, deadlock
		return errs.Wrap(errs.Unavailable, busy, pe)
	case pe.Code == "22021", pe.Code == "22P05": // text that PostgreSQL cannot hold, as NUL
		return errs.Wrap(errs.Invalid, what+" holds invalid characters", pe)
	}
	return pe
}

func unreachable(err error) bool {
	var ce *pgconn.ConnectError
	var ne net.Error
	return errors.As(err, &ce) || errors.As(err, &ne) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}

// NotFound returns the errs.NotFound of a record that a query did not find.
func NotFound(what string) error { return Error(pgx.ErrNoRows, what) }
