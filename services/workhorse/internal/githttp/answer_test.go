package githttp

import (
	"net/http/httptest"
	"testing"
)

func TestAnswer_whole(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pieces []string
		want   bool
	}{
		{nil, false},
		{[]string{"0000"}, true},
		{[]string{"000eunpack ok\n0000"}, true},
		{[]string{"000eunpack ok\n", "00", "0", "0"}, true},
		{[]string{"0000", "0"}, true},
		{[]string{"0000", "001a\x02checking the push...\n"}, false},
		{[]string{"0000", "1"}, false},
		{[]string{"00", "0"}, false},
	} {
		out := newAnswer(httptest.NewRecorder(), "text/plain")
		for _, p := range tc.pieces {
			if _, err := out.Write([]byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		if got := out.whole(); got != tc.want {
			t.Errorf("%q: %v, want %v", tc.pieces, got, tc.want)
		}
	}
}
