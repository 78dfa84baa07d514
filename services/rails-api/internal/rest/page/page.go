// Package page reads the paging parameters of a list request and writes the paging headers of its answer (wire/rest-api.md §4).
package page

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"gitsplit/services/rails-api/internal/rest/param"
)

const (
	defaultSize = 20
	maxSize     = 100
	maxNumber   = 1_000_000
	// maxTotal is the number of rows above which the totals are left out.
	maxTotal = 10_000
)

// Page names one page of a list; numbers count from 1.
type Page struct {
	Number, Size int
}

// Read returns the page that the request asks for. Sizes above 100 are capped; page and per_page below 1 are noted as faults.
func Read(p *param.Set) Page {
	return Page{Number: positive(p, "page", 1, maxNumber), Size: Size(p)}
}

// Size returns per_page, at most 100.
func Size(p *param.Set) int {
	return min(positive(p, "per_page", defaultSize, 1<<30), maxSize)
}

func positive(p *param.Set, name string, def, most int64) int {
	n := p.Int(name, def)
	if n < 1 || n > most {
		p.Fault(name, "does not have a valid value")
		return int(def)
	}
	return int(n)
}

// Offset is the number of rows before the page.
func (p Page) Offset() int { return (p.Number - 1) * p.Size }

// Headers writes the headers of a list with a known number of rows. self is the absolute public URL of the list.
func (p Page) Headers(h http.Header, self *url.URL, total int) {
	pages := max((total+p.Size-1)/p.Size, 1)
	links := p.common(h, self, p.Number < pages, p.Number > pages)
	if total <= maxTotal {
		h.Set("X-Total", strconv.Itoa(total))
		h.Set("X-Total-Pages", strconv.Itoa(pages))
		links = append(links, link(self, "last", p.query(self, pages)))
	}
	h.Set("Link", strings.Join(links, ", "))
}

// HeadersUncounted writes the headers of a list whose number of rows is not known; more says whether there is a next page.
func (p Page) HeadersUncounted(h http.Header, self *url.URL, more bool) {
	h.Set("Link", strings.Join(p.common(h, self, more, false), ", "))
}

// common writes the headers that every list has and returns the links to the previous, the next and the first page. There is no previous
// page when the page is out of range.
func (p Page) common(h http.Header, self *url.URL, more, beyond bool) []string {
	var next, prev string
	var links []string
	if p.Number > 1 && !beyond {
		prev = strconv.Itoa(p.Number - 1)
		links = append(links, link(self, "prev", p.query(self, p.Number-1)))
	}
	if more {
		next = strconv.Itoa(p.Number + 1)
		links = append(links, link(self, "next", p.query(self, p.Number+1)))
	}
	h.Set("X-Page", strconv.Itoa(p.Number))
	h.Set("X-Per-Page", strconv.Itoa(p.Size))
	h.Set("X-Next-Page", next)
	h.Set("X-Prev-Page", prev)
	return append(links, link(self, "first", p.query(self, 1)))
}

func (p Page) query(self *url.URL, number int) url.Values {
	q := self.Query()
	q.Set("page", strconv.Itoa(number))
	q.Set("per_page", strconv.Itoa(p.Size))
	return q
}

// Keyset writes the Link header of a list that is paged by a key: more says whether there are rows after the page, and set names the
// parameters that lead to them, such as id_after. Parameters of the other direction are dropped.
func Keyset(h http.Header, self *url.URL, size int, more bool, set map[string]string) {
	if !more {
		return
	}
	q := self.Query()
	for name, value := range set {
		q.Del(name)
		if value != "" {
			q.Set(name, value)
		}
	}
	q.Set("per_page", strconv.Itoa(size))
	h.Set("Link", link(self, "next", q))
}

// link renders one Link; the encoding of the query leaves no raw comma or semicolon, and credentials given as parameters are dropped.
func link(self *url.URL, rel string, q url.Values) string {
	for _, secret := range []string{"private_token", "access_token", "job_token"} {
		q.Del(secret)
	}
	u := *self
	u.RawQuery = q.Encode()
	return "<" + strings.NewReplacer(",", "%2C", ";", "%3B").Replace(u.String()) + `>; rel="` + rel + `"`
}
