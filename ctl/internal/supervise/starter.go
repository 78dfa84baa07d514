package supervise

import "runtime"

// starter runs functions on one operating system thread that lives until close.
// A child's parent-death signal fires when the *thread* that forked it ends, and
// Go ends threads as it likes; hence one thread of our own.
type starter struct {
	jobs chan func()
}

func newStarter() *starter {
	s := &starter{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// do runs job and waits for it.
func (s *starter) do(job func() error) error {
	result := make(chan error, 1)
	s.jobs <- func() { result <- job() }
	return <-result
}

// close ends the thread. Children that still run get their parent-death signal.
func (s *starter) close() { close(s.jobs) }
