package status

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"gitsplit/ctl/internal/proc"
	"gitsplit/ctl/internal/supervise"
)

const mib = 1 << 20

// Render writes a line for each process and the memory of ours together. Memory
// comes from resident, which has the signature of proc.Resident.
func (s Status) Render(w io.Writer, now time.Time, resident func(pid int) (int64, error)) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line(table, "PROCESS", "STATE", "PID", "RESTARTS", "UPTIME", "MIB")
	self := Process{Name: "gitsplit", Go: true, State: supervise.Ready, PID: s.PID, Started: s.Started}
	var total int64
	for _, p := range append([]Process{self}, s.Processes...) {
		pid, uptime, memory := "-", "-", "-"
		if p.PID != 0 {
			pid, uptime = fmt.Sprint(p.PID), now.Sub(p.Started).Truncate(time.Second).String()
			if size, err := resident(p.PID); err == nil {
				memory = fmt.Sprintf("%.1f", float64(size)/mib)
				if p.Go {
					total += size
				}
			}
		}
		line(table, p.Name, string(p.State), pid, fmt.Sprint(p.Restarts), uptime, memory)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nresident memory of the Go processes: %.1f MiB\ndatabase: %s\nsockets: %s\nHTTP: %s\nHTTPS: %s\nSSH: %s\n",
		float64(total)/mib, s.Database, s.Sockets, s.URL, s.HTTPSURL, s.SSHURL)
	return err
}

// Show is Render with the processes of this machine.
func (s Status) Show(w io.Writer) error { return s.Render(w, time.Now(), proc.Resident) }

func line(w io.Writer, cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = io.WriteString(w, "\t") // a tabwriter keeps it; Flush tells of errors
		}
		_, _ = io.WriteString(w, cell)
	}
	_, _ = io.WriteString(w, "\n")
}

// AllReady reports whether every process is ready.
func (s Status) AllReady() bool {
	for _, p := range s.Processes {
		if p.State != supervise.Ready {
			return false
		}
	}
	return true
}
