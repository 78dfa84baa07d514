package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action      string
	Package     string
	Test        string
	Output      string
	Elapsed     float64
	ImportPath  string // of a build event
	FailedBuild string // of a package that did not compile
}

// counter follows the tests of many packages, which may interleave. A test that
// has subtests is not counted beside them, unless it fails while they pass.
type counter struct {
	out      io.Writer
	packages map[string]*packageRun
	builds   map[string]string // compiler output by package

	passed, failed, skipped int
	failures, skips         []string
	excerpts                []string // of what failed, and of the tests around it
}

type packageRun struct {
	tests  map[string]*testRun
	order  []string
	output strings.Builder
}

type testRun struct {
	ran    bool   // else it is only a part of names that hold a slash themselves
	action string // how it ended; empty while it runs
	output strings.Builder
	parent bool
}

func newCounter(out io.Writer) *counter {
	return &counter{out: out, packages: map[string]*packageRun{}, builds: map[string]string{}}
}

// read takes in a whole stream. Lines that are no events are printed as they come.
func (c *counter) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		var e event
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &e) == nil:
			c.add(e)
		default:
			fmt.Fprintf(c.out, "%s", line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

func (c *counter) add(e event) {
	if strings.HasPrefix(e.Action, "build-") {
		c.builds[e.ImportPath] += e.Output
		return
	}
	p := c.packages[e.Package]
	if p == nil {
		p = &packageRun{tests: map[string]*testRun{}}
		c.packages[e.Package] = p
	}
	if e.Test != "" {
		p.test(e.Test).add(e)
		return
	}
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		c.finish(p, e)
		delete(c.packages, e.Package)
	}
}

// test finds or makes the record of a test and marks those it is part of.
func (p *packageRun) test(name string) *testRun {
	if t := p.tests[name]; t != nil {
		return t
	}
	t := &testRun{}
	p.tests[name] = t
	p.order = append(p.order, name)
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		p.test(name[:i]).parent = true
	}
	return t
}

func (t *testRun) add(e event) {
	t.ran = true
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass":
		t.action = e.Action
		t.output.Reset()
	case "fail", "skip":
		t.action = e.Action
	}
}

// finish counts a package's tests and prints what is worth reading.
func (c *counter) finish(p *packageRun, e event) {
	passed, failed, skipped := c.passed, c.failed, c.skipped
	for _, name := range p.order {
		c.count(p, e, name)
	}
	if e.Action == "fail" && c.failed == failed {
		text := c.builds[e.FailedBuild] + p.output.String()
		fmt.Fprint(c.out, text)
		c.excerpt(e.Package, text)
		c.fail(e.Package)
	}
	if len(p.order) == 0 && e.Action != "fail" {
		return
	}
	fmt.Fprintf(c.out, "%-4s %s %.1fs: %s\n", e.Action, e.Package, e.Elapsed,
		tally(c.passed-passed, c.failed-failed, c.skipped-skipped))
}

func (c *counter) count(p *packageRun, e event, name string) {
	t := p.tests[name]
	full := e.Package + "." + name
	switch {
	case !t.ran:
	case t.action == "fail", t.action == "" && e.Action == "fail": // the latter was running when the package died
		fmt.Fprint(c.out, t.output.String())
		c.excerpt(full, t.output.String()) // a parent's too: go test takes the panic of a subtest for its parent's
		if !p.failedBelow(name) {
			c.fail(full)
		}
	case t.parent:
	case t.action == "skip":
		c.skipped++
		c.skips = append(c.skips, full+"\n"+strings.TrimRight(t.output.String(), "\n"))
	default:
		c.passed++
	}
}

// failedBelow reports whether a subtest of the test failed.
func (p *packageRun) failedBelow(name string) bool {
	return slices.ContainsFunc(p.order, func(other string) bool {
		return strings.HasPrefix(other, name+"/") && p.tests[other].action == "fail"
	})
}

func (c *counter) fail(name string) {
	c.failed++
	c.failures = append(c.failures, name)
}

// excerpt keeps what is worth repeating at the end.
func (c *counter) excerpt(name, output string) {
	if text := excerpt(output); text != "" {
		c.excerpts = append(c.excerpts, "FAIL "+name+":\n"+text)
	}
}

// summary names what did not pass and closes with the count. Why a test failed
// was printed when its package ended, far above in a long log: the part that
// tells most stands here again.
func (c *counter) summary() {
	for _, s := range c.skips {
		fmt.Fprintf(c.out, "SKIP %s\n", s)
	}
	for _, e := range c.excerpts {
		fmt.Fprintf(c.out, "\n%s", e)
	}
	for _, f := range c.failures {
		fmt.Fprintf(c.out, "FAIL %s\n", f)
	}
	fmt.Fprintln(c.out, tally(c.passed, c.failed, c.skipped))
}

func tally(passed, failed, skipped int) string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", passed, failed, skipped)
}
