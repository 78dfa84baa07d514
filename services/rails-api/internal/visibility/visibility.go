// Package visibility holds the three answers to "who may see this?".
package visibility

// Level says who may see a project or a group.
type Level string

// The levels, from the closest to the most open.
const (
	Private  Level = "private"  // its members
	Internal Level = "internal" // everyone who is signed in
	Public   Level = "public"   // everyone
)

// Valid reports whether l is one of the levels.
func (l Level) Valid() bool { return l.rank() >= 0 }

// Within reports whether something of level l may stand in a group of level outer:
// nothing is more open than what holds it.
func (l Level) Within(outer Level) bool { return l.Valid() && l.rank() <= outer.rank() }

func (l Level) rank() int {
	switch l {
	case Private:
		return 0
	case Internal:
		return 10
	case Public:
		return 20
	}
	return -1
}
