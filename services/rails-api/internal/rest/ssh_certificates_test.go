package rest_test

import (
	"testing"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestSSHCertificates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, dev, eve := b.person("ann"), b.person("dev"), b.person("eve")
	g, other := b.group(ann, "team", visibility.Private), b.group(eve, "other", visibility.Private)
	b.join(member.OfNamespace(g.ID), dev, member.Maintainer)
	list := "groups/" + id(g.ID) + "/ssh_certificates"
	var ca struct {
		ID         int64
		Title, Key string
	}
	body := map[string]any{"title": "bastion", "key": ed25519Key}
	b.as(ann).post(list, body).want(201).into(&ca)
	if ca.Title != "bastion" || ca.Key != ed25519Key {
		t.Errorf("authority: %+v", ca)
	}
	taken := `{"message":{"fingerprint":["must be unique. This CA has already been configured for another namespace."]}}`
	b.as(ann).post(list, body).text(400, taken)
	b.as(eve).post("groups/"+id(other.ID)+"/ssh_certificates", body).text(400, taken)
	b.as(ann).post(list, map[string]any{"title": "x"}).text(400, `{"error":"key is missing"}`)
	b.as(ann).post(list, map[string]any{"title": "x", "key": "none"}).want(400)
	var sub struct{ ID int64 }
	b.as(ann).post("groups", map[string]any{"name": "sub", "path": "sub", "parent_id": g.ID}).want(201).into(&sub)
	b.as(ann).post("groups/"+id(sub.ID)+"/ssh_certificates", body).want(403)
	b.as(dev).get(list).text(403, `{"message":"403 Forbidden"}`)
	b.as(dev).delete(list+"/"+id(ca.ID)).text(403, `{"message":"403 Forbidden"}`)
	b.as(eve).get(list).text(404, `{"message":"404 Group Not Found"}`)
	b.as(eve).delete("groups/"+id(other.ID)+"/ssh_certificates/"+id(ca.ID)).text(404, `{"message":"404 SSH Certificate Not Found"}`)
	if got := b.as(ann).get(list).names("title"); got != "bastion" {
		t.Errorf("authorities: %q", got)
	}
	b.as(ann).delete(list+"/"+id(ca.ID)).text(204, "")
	b.as(ann).delete(list+"/"+id(ca.ID)).text(404, `{"message":"404 SSH Certificate Not Found"}`)
}
