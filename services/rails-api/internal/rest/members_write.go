package rest

import (
	"context"
	"net/http"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/user"
)

// getMember reads one member of a source.
type getMember func(ctx context.Context, src member.Source, userID int64) (member.Member, error)

func (m *memberAPI) add(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("access_level")
	p.RequireOne("user_id", "username")
	level := readLevel(p)
	id, username := p.Int("user_id", 0), p.String("username")
	expires := p.Date("expires_at")
	if err := p.Err(); err != nil {
		return err
	}
	src, err := m.load(r, access.AdminMembers)
	if err != nil {
		return err
	}
	if err := m.mayGrant(r, src, level); err != nil {
		return err
	}
	if err := m.checkExpiry(expires); err != nil {
		return err
	}
	u, err := m.newMember(r.Context(), id, username)
	if err != nil {
		return err
	}
	me := actorID(r)
	added, err := m.members.Add(r.Context(), member.NewMember{Source: src.Source, UserID: u.ID, Level: level, ExpiresAt: expires, CreatedByID: &me})
	if is(err, errs.Exists) {
		return message(http.StatusConflict, "Member already exists")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, m.memberEntity(added))
}

func (m *memberAPI) newMember(ctx context.Context, id int64, username string) (u user.User, err error) {
	if id != 0 {
		u, err = m.users.ByID(ctx, id)
	} else {
		u, err = m.users.ByUsername(ctx, username)
	}
	switch {
	case is(err, errs.NotFound):
		return u, notFound("User")
	case err == nil && u.Bot:
		return u, invalid("project bots cannot be added to other groups / projects", "user")
	}
	return u, err
}

func (m *memberAPI) update(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("access_level")
	level := readLevel(p)
	expires := p.Date("expires_at")
	if err := p.Err(); err != nil {
		return err
	}
	src, err := m.load(r, access.AdminMembers)
	if err != nil {
		return err
	}
	old, err := m.inPath(r, src, m.members.Get)
	if err != nil {
		return err
	}
	if err := m.mayGrant(r, src, max(level, old.Level)); err != nil {
		return err
	}
	if !p.Named("expires_at") {
		expires = old.ExpiresAt
	} else if err := m.checkExpiry(expires); err != nil {
		return err
	}
	changed, err := m.members.Update(r.Context(), src.Source, old.User.ID, level, expires)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, m.memberEntity(changed))
}

// remove ends a membership; one's own ends without further rights.
func (m *memberAPI) remove(w http.ResponseWriter, r *http.Request) error {
	act := access.AdminMembers
	if id, ok := number(segment(r, "user_id")); ok && id == actorID(r) {
		act = access.ReadMembers
	}
	src, err := m.load(r, act)
	if err != nil {
		return err
	}
	old, err := m.inPath(r, src, m.members.Get)
	if err != nil {
		return err
	}
	if old.User.ID != actorID(r) {
		if err := m.mayGrant(r, src, old.Level); err != nil {
			return err
		}
	}
	if err := m.members.Remove(r.Context(), src.Source, old.User.ID); err != nil {
		return err
	}
	return noContent(w)
}

// mayGrant refuses to give or take a level above the caller's own.
func (m *memberAPI) mayGrant(r *http.Request, src memberSource, level member.Level) error {
	if higher, err := m.exceeds(r, src, level); err != nil || higher {
		return orError(err, forbidden(""))
	}
	return nil
}

// exceeds reports whether a level is above the caller's own.
func (a *api) exceeds(r *http.Request, src memberSource, level member.Level) (bool, error) {
	if isAdmin(r) {
		return false, nil
	}
	own, err := src.level()
	return level > own, err
}

func (m *memberAPI) checkExpiry(day *time.Time) error {
	if day != nil && !day.After(m.today()) {
		return invalid("cannot be a date in the past", "expires_at")
	}
	return nil
}

func readLevel(p *param.Set) member.Level {
	return member.Level(p.OneOf("access_level", 0, int(member.Minimal), int(member.Guest), int(member.Planner), int(member.Reporter),
		int(member.Developer), int(member.Maintainer), int(member.Owner)))
}
