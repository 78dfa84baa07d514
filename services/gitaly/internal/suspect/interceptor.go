package suspect

import (
	"errors"

	"gitsplit/kit/durable"
	"gitsplit/services/gitaly/internal/method"
)

// Interceptors mark the repository of each RPC that fails because a sync did.
func Interceptors(marks *Marks, locator method.Locator) method.Outcomes {
	return method.Outcomes{
		Locator: locator,
		Wanted:  func(_ method.Method, err error) bool { return errors.Is(err, durable.ErrSync) },
		Ended:   marks.Mark,
	}
}
