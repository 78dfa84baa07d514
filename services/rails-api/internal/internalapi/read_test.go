package internalapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/key"
)

func keyOptions() key.NewKey { return key.NewKey{} }

func TestAuthorizedKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	past := b.Time.Add(-time.Hour)
	k, blob := b.Key(b.User("ada"), key.NewKey{ExpiresAt: &past}) // expiry is judged when it is used
	_, signing := b.Key(b.User("bob"), key.NewKey{UsageType: key.Signing})
	_, absent := b.Key(b.User("eve"), keyOptions())
	b.Must(key.New(b.DB).Delete(t.Context(), k.UserID+2, k.ID+2))

	want := fmt.Sprintf(`{"id":%d,"title":"laptop","created_at":%q,"expires_at":%q,"key":"ssh-ed25519 %s Name of ada (git.example.test)","usage_type":"auth_and_signing"}`,
		k.ID, k.CreatedAt.UTC().Format("2006-01-02T15:04:05.000Z"), past.Format("2006-01-02T15:04:05.000Z"), blob)
	b.get("/authorized_keys", url.Values{"key": {blob}}).want(t, 200, want)
	b.get("/authorized_keys", url.Values{"key": {strings.TrimRight(blob, "=")}}).want(t, 200, want)
	for name, bad := range map[string]string{
		"unknown": absent, "signing only": signing, "empty": "", "partial": blob[:20], "no base64": "%%%", "not a key": "aGVsbG8=",
		"huge": strings.Repeat("A", 20000), "with a space": blob[:10] + " " + blob[10:],
	} {
		if got := b.get("/authorized_keys", url.Values{"key": {bad}}); got.status != 404 || got.body != `{"message":"404 Key Not Found"}` {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	k, _ := b.Key(ada, keyOptions())
	signing, _ := b.Key(ada, key.NewKey{UsageType: key.Signing})
	known := fmt.Sprintf(`{"id":%d,"username":"ada","name":"Name of ada"}`, ada.ID)
	for query, want := range map[string]string{
		fmt.Sprintf("key_id=%d", k.ID):         known,
		fmt.Sprintf("user_id=%d", ada.ID):      known,
		"username=ADA":                         known,
		"key_id=999":                           "null",
		fmt.Sprintf("key_id=%d", signing.ID):   "null",
		"username=nobody":                      "null",
		"username=%25":                         "null",
		"krb5principal=ada":                    "null",
		"":                                     "null",
		"key_id=999&username=ada":              "null",
		"key_id=99999999999999999999999999":    "null",
		fmt.Sprintf("key_id=%d%%00", k.ID):     "null",
		"username=" + url.QueryEscape("a\x00"): "null",
	} {
		values, err := url.ParseQuery(query)
		b.Must(err)
		got := b.get("/discover", values)
		if query == "username="+url.QueryEscape("a\x00") { // PostgreSQL holds no NUL: any refusal will do
			if got.status != 400 && got.body != "null" {
				t.Errorf("%s: %d %s", query, got.status, got.body)
			}
			continue
		}
		if got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s, want %s", query, got.status, got.body, want)
		}
	}
}
