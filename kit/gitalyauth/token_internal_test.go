package gitalyauth

import (
	"encoding/hex"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tokens "gitsplit/kit/gitalyauth/token"
)

func TestCheck_signedTextThatIsNoTime(t *testing.T) {
	t.Parallel()
	key := []byte("foo")
	err := Check([][]byte{key}, "v2."+hex.EncodeToString(tokens.MAC(key, "x"))+".x", time.Unix(0, 0))
	const want = `permission denied: cannot parse timestamp: strconv.ParseInt: parsing "x": invalid syntax`
	if st := status.Convert(err); st.Code() != codes.PermissionDenied || st.Message() != want {
		t.Errorf("got %v", err)
	}
}
