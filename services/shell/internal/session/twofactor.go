package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gitsplit/kit/internalapi"
	"gitsplit/services/shell/internal/console"
)

const (
	maxConfirmation = 1024
	maxOTP          = 64
	otpLimit        = 30 * time.Second

	textConfirm = "Are you sure you want to generate new two-factor recovery codes?\n" +
		"Any existing recovery codes you saved will be invalidated. (yes/no)\n"
	textKept  = "\nNew recovery codes have *not* been generated. Existing codes will remain valid.\n"
	textCodes = "\nYour two-factor authentication recovery codes are:\n\n%s\n\n" +
		"During sign in, use one of the codes above when prompted for\n" +
		"your two-factor code. Then, visit your Profile Settings and add\n" +
		"a new device so you do not lose access to your account again.\n"
	textNoCodes = "\nAn error occurred while trying to generate new recovery codes.\n%s\n"
	textOTP     = "OTP validation successful. Git operations are now allowed."
	textPush    = "OTP has been validated by Push Authentication. Git operations are now allowed."
)

// twoFactorRequest is the body of the API's calls (wire/internal-api.md §3.10).
type twoFactorRequest struct {
	KeyID  internalapi.ID `json:"key_id,omitempty"`
	UserID int64          `json:"user_id,omitempty"`
	OTP    string         `json:"otp_attempt,omitempty"`
}

type twoFactorAnswer struct {
	Success bool     `json:"success"`
	Message string   `json:"message"`
	Codes   []string `json:"recovery_codes"`
}

// twoFactor makes one of these calls; a refusal is an error with the API's words.
func (r *Runner) twoFactor(ctx context.Context, path string, req Request, otp string) (twoFactorAnswer, error) {
	var answer twoFactorAnswer
	body := twoFactorRequest{OTP: otp}
	var err error
	if body.KeyID, body.UserID, err = r.account(ctx, req); err == nil {
		err = r.api.Post(ctx, path, body, &answer)
	}
	switch {
	case ctx.Err() != nil:
		return answer, ctx.Err()
	case err != nil:
		return answer, errors.New(explain(ctx, err).text)
	case !answer.Success:
		return answer, errors.New(answer.Message)
	}
	return answer, nil
}

// recoveryCodes replaces the user's recovery codes, after a question
// (wire/gitlab-shell.md §6.7). It succeeds even when there are no new codes.
func (r *Runner) recoveryCodes(ctx context.Context, req Request) error {
	if err := say(req.Stdout, textConfirm); err != nil {
		return err
	}
	if word, err := readWord(ctx, req.Stdin, maxConfirmation); err != nil || word != "yes" {
		return say(req.Stdout, textKept)
	}
	answer, err := r.twoFactor(ctx, internalapi.PathTwoFactorCodes, req, "")
	if err != nil {
		return say(req.Stdout, fmt.Sprintf(textNoCodes, err))
	}
	return say(req.Stdout, fmt.Sprintf(textCodes, strings.Join(answer.Codes, "\n")))
}

// verifyOTP opens git for a while to a user with a second factor: by the code they
// type, or by what they confirm on their phone, whichever comes first
// (wire/gitlab-shell.md §6.8). It succeeds even when the code is wrong.
func (r *Runner) verifyOTP(ctx context.Context, req Request) error {
	ctx, cancel := context.WithTimeout(ctx, otpLimit)
	defer cancel()
	if err := say(req.Stdout, "OTP: "); err != nil {
		return err
	}
	typed, pushed := make(chan string, 1), make(chan struct{}, 1)
	push, stopPush := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := r.twoFactor(push, internalapi.PathTwoFactorPush, req, ""); err == nil {
			pushed <- struct{}{}
		}
	}()
	defer func() { stopPush(); <-ended }()
	go func() { typed <- r.typedOTP(ctx, req) }() // ends with its context
	select {
	case text := <-typed:
		return say(req.Stdout, "\n"+text+"\n")
	case <-pushed:
		return say(req.Stdout, "\n"+textPush+"\n")
	}
}

// typedOTP reads a code and says how its check went.
func (r *Runner) typedOTP(ctx context.Context, req Request) string {
	otp, err := readWord(ctx, req.Stdin, maxOTP)
	if err == nil && otp == "" {
		err = errors.New("OTP cannot be blank")
	}
	if err == nil {
		_, err = r.twoFactor(ctx, internalapi.PathTwoFactorOTP, req, otp)
	}
	if err != nil {
		return "OTP validation failed: " + err.Error()
	}
	return textOTP
}

// readWord reads the first word of a line, within limit bytes. It returns when ctx
// ends, even if in stays silent; one goroutine then waits for the end of in.
func readWord(ctx context.Context, in io.Reader, limit int64) (string, error) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(io.LimitReader(in, limit)).ReadString('\n') // an early end is an answer too
		line <- text
	}()
	select {
	case text := <-line:
		word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
		return word, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func say(w io.Writer, text string) error {
	if _, err := io.WriteString(w, console.Clean(text)); err != nil {
		return fmt.Errorf("write to the user: %w", err)
	}
	return nil
}
