package page

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"gitsplit/services/rails-api/internal/rest/param"
)

func read(tb testing.TB, query string) (*param.Set, Page) {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/?"+query, nil)
	p, err := param.Parse(r)
	if err != nil {
		tb.Fatal(err)
	}
	return p, Read(p)
}

func TestRead(t *testing.T) {
	t.Parallel()
	cases := []struct {
		query string
		want  Page
		fault string
	}{
		{"", Page{1, 20}, ""},
		{"page=&per_page=", Page{1, 20}, ""},
		{"page=3&per_page=30", Page{3, 30}, ""},
		{"per_page=500", Page{1, 100}, ""},
		{"per_page=0", Page{1, 20}, "per_page does not have a valid value"},
		{"per_page=-1", Page{1, 20}, "per_page does not have a valid value"},
		{"page=0", Page{1, 20}, "page does not have a valid value"},
		{"page=99999999999", Page{1, 20}, "page does not have a valid value"},
		{"page=x", Page{1, 20}, "page is invalid"},
	}
	for _, tc := range cases {
		t.Run(tc.query, func(t *testing.T) {
			t.Parallel()
			p, got := read(t, tc.query)
			fault := ""
			if err := p.Err(); err != nil {
				fault = err.Error()
			}
			if got != tc.want || fault != tc.fault {
				t.Errorf("got %v %q, want %v %q", got, fault, tc.want, tc.fault)
			}
		})
	}
}

func TestPage_Headers(t *testing.T) {
	t.Parallel()
	self, err := url.Parse("https://git.example/api/v4/projects/a%2Fb/members?private_token=secret&query=a,b;c&page=1")
	if err != nil {
		t.Fatal(err)
	}
	const base = "<https://git.example/api/v4/projects/a%2Fb/members?page="
	const rest = "&per_page=20>; rel="
	cases := []struct {
		name                            string
		page                            Page
		total                           int
		xTotal, xPages, next, prev, lnk string
	}{
		{"no rows", Page{1, 20}, 0, "0", "1", "", "", base + "1" + rest + `"first", ` + base + "1" + rest + `"last"`},
		{"one row", Page{1, 20}, 1, "1", "1", "", "", base + "1" + rest + `"first", ` + base + "1" + rest + `"last"`},
		{"exactly one page", Page{1, 20}, 20, "20", "1", "", "", base + "1" + rest + `"first", ` + base + "1" + rest + `"last"`},
		{"one more", Page{1, 20}, 21, "21", "2", "2", "", base + "2" + rest + `"next", ` + base + "1" + rest + `"first", ` + base + "2" + rest + `"last"`},
		{"in the middle", Page{3, 20}, 101, "101", "6", "4", "2", base + "2" + rest + `"prev", ` + base + "4" + rest + `"next", ` +
			base + "1" + rest + `"first", ` + base + "6" + rest + `"last"`},
		{"last", Page{6, 20}, 101, "101", "6", "", "5", base + "5" + rest + `"prev", ` + base + "1" + rest + `"first", ` + base + "6" + rest + `"last"`},
		{"beyond the end", Page{7, 20}, 101, "101", "6", "", "", base + "1" + rest + `"first", ` + base + "6" + rest + `"last"`},
		{"too many to count", Page{1, 20}, 10001, "", "", "2", "", base + "2" + rest + `"next", ` + base + "1" + rest + `"first"`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			u := *self
			q := u.Query()
			q.Del("query")
			u.RawQuery = q.Encode()
			h := http.Header{}
			tc.page.Headers(h, &u, tc.total)
			for name, want := range map[string]string{"X-Total": tc.xTotal, "X-Total-Pages": tc.xPages, "X-Next-Page": tc.next, "X-Prev-Page": tc.prev, "Link": tc.lnk} {
				if got := h.Get(name); got != want {
					t.Errorf("%s\ngot  %s\nwant %s", name, got, want)
				}
			}
		})
	}
}

func TestKeyset(t *testing.T) {
	t.Parallel()
	self, err := url.Parse("https://git.example/api/v4/projects?pagination=keyset&id_after=3&access_token=x&search=a%2Cb")
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	Keyset(h, self, 5, true, map[string]string{"id_after": "8", "id_before": ""})
	want := `<https://git.example/api/v4/projects?id_after=8&pagination=keyset&per_page=5&search=a%2Cb>; rel="next"`
	if got := h.Get("Link"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	h = http.Header{}
	Keyset(h, self, 5, false, nil)
	if len(h) != 0 {
		t.Errorf("headers on the last page: %v", h)
	}
}

func TestPage_HeadersUncounted(t *testing.T) {
	t.Parallel()
	self := &url.URL{Scheme: "http", Host: "h", Path: "/x"}
	h := http.Header{}
	Page{2, 10}.HeadersUncounted(h, self, true)
	want := `<http://h/x?page=1&per_page=10>; rel="prev", <http://h/x?page=3&per_page=10>; rel="next", <http://h/x?page=1&per_page=10>; rel="first"`
	if got := h.Get("Link"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if h.Get("X-Next-Page") != "3" || h.Get("X-Total") != "" {
		t.Errorf("headers: %v", h)
	}
}
