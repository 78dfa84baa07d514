package hookpayload_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/hookpayload/plain"
	"gitsplit/proto/go/gitalypb"
	"google.golang.org/protobuf/testing/protocmp"
)

func full() hookpayload.Payload {
	return hookpayload.Payload{
		RequestedHooks: hookpayload.ReceivePack,
		Repository: &gitalypb.Repository{
			StorageName: "default", RelativePath: "@hashed/aa/bb/cc.git",
			GlRepository: "project-26", GlProjectPath: "team/tool",
		},
		ObjectFormat: "sha1", RuntimeDir: "/run/gitaly-1", InternalSocket: "/run/gitaly-1/sock.d/intern",
		InternalSocketToken: "token",
		UserDetails:         &hookpayload.UserDetails{Username: "ada", UserID: "key-7", Protocol: "ssh", RemoteIP: "192.0.2.1"},
		ClientContext:       []byte{0, 1, 255},
	}
}

func TestPayload_roundTrip(t *testing.T) {
	t.Parallel()
	want := full()
	entry, err := want.Env()
	if err != nil {
		t.Fatal(err)
	}
	got, err := hookpayload.FromEnv([]string{"A=b", hookpayload.EnvKey + "=old", entry, "C=d"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
}

// TestDecode_foreign reads what a GitLab gitaly would write.
func TestDecode_foreign(t *testing.T) {
	t.Parallel()
	text := `{"requested_hooks":15,"feature_flags_with_value":[{"flag":{"name":"x","on_by_default":true},"enabled":true}],` +
		`"repository":"{\"storage_name\":\"s\",\"relativePath\":\"r.git\",\"newField\":1}","object_format":"sha256",` +
		`"transaction":{"id":1,"node":"n","primary":true},"user_details":null,"transaction_id":4,"LogFields":{"a":"b"}}`
	got, err := hookpayload.Decode(base64.StdEncoding.EncodeToString([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Repository.GetStorageName() != "s" || got.Repository.GetRelativePath() != "r.git" || got.ObjectFormat != "sha256" {
		t.Errorf("decoded %+v", got)
	}
}

func TestPayload_Has(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		set  hookpayload.Hook
		hook hookpayload.Hook
		want bool
	}{
		{"asked for", hookpayload.ReceivePack, hookpayload.PreReceive, true},
		{"not asked for", hookpayload.ReferenceTransaction, hookpayload.PreReceive, false},
		{"nothing said means all", 0, hookpayload.PackObjects, true},
		{"nothing said leaves proc-receive out", 0, hookpayload.ProcReceive, false},
	} {
		if got := (hookpayload.Payload{RequestedHooks: tc.set}).Has(tc.hook); got != tc.want {
			t.Errorf("%s: Has = %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestDecode_bad(t *testing.T) {
	t.Parallel()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, value := range map[string]string{
		"no base64": "%%%", "no json": b64("secret"), "no repository": b64(`{"repository":"secret"}`),
		"long": strings.Repeat("A", 200<<10), "empty": "",
	} {
		_, err := hookpayload.Decode(value)
		if err == nil {
			t.Errorf("%s: decoded", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %q quotes the payload", name, err)
		}
	}
	if _, err := hookpayload.FromEnv([]string{"A=b"}); err == nil {
		t.Error("FromEnv finds a payload in an environment without one")
	}
}

func FuzzDecode(f *testing.F) {
	entry, err := full().Env()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimPrefix(entry, hookpayload.EnvKey+"="))
	f.Add(base64.StdEncoding.EncodeToString([]byte(`{"repository":"{}"}`)))
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		p, err := hookpayload.Decode(value)
		if err != nil {
			return
		}
		if _, err := p.Env(); err != nil {
			t.Skip() // protojson refuses invalid UTF-8, which Decode refuses as well
		}
	})
}

// TestRepositoryMessage compares the two ways to read the repository.
func TestRepositoryMessage(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{}`, `{"storageName":"s","relativePath":"r.git","gitObjectDirectory":"o","gitAlternateObjectDirectories":["a","b"],"glRepository":"g","glProjectPath":"p"}`,
		`{"storage_name":"s","relative_path":"r.git","git_object_directory":"o","git_alternate_object_directories":["a"],"gl_repository":"g","gl_project_path":"p"}`,
		`{"storageName":null,"newField":{"a":[1]}}`, `{"storageName":"\u00fc"}`,
		``, `x`, `[]`, `"text"`, `{"storageName":1}`, `{"gitAlternateObjectDirectories":"a"}`,
	} {
		raw, err := json.Marshal(map[string]string{"repository": text})
		if err != nil {
			t.Fatal(err)
		}
		value := base64.StdEncoding.EncodeToString(raw)
		whole, wantErr := hookpayload.Decode(value)
		p, err := plain.Decode(value)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.RepositoryMessage()
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%s: %v, want %v", text, err, wantErr)
		}
		if err != nil {
			continue
		}
		w := whole.Repository
		want := plain.Repository{
			StorageName: w.GetStorageName(), RelativePath: w.GetRelativePath(), GitObjectDirectory: w.GetGitObjectDirectory(),
			GitAlternateObjectDirectories: w.GetGitAlternateObjectDirectories(), GLRepository: w.GetGlRepository(), GLProjectPath: w.GetGlProjectPath(),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
