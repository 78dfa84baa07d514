package e2e_test

import "gitsplit/e2e/internal/user"

// actor is a user who does something in a test.
type actor = user.User
