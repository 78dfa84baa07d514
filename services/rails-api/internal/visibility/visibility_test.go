package visibility

import "testing"

func TestLevel_Within(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		inner, outer Level
		want         bool
	}{
		{Private, Private, true}, {Private, Public, true}, {Public, Private, false},
		{Internal, Public, true}, {Public, Internal, false}, {"secret", Public, false}, {Private, "", false},
	} {
		if got := tc.inner.Within(tc.outer); got != tc.want {
			t.Errorf("%q within %q = %v, want %v", tc.inner, tc.outer, got, tc.want)
		}
	}
}
