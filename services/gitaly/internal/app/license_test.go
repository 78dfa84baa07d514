package app_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"gitsplit/proto/go/gitalypb"
)

const (
	textMIT = `MIT License

Copyright (c) 2026 Ada

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR
IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`
	textISC = `Copyright (c) 2026 Ada

Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided
that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED
WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR
CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`
)

func TestRepositoryService_FindLicense(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repos := gitalypb.NewRepositoryServiceClient(b.conn)
	mit := &gitalypb.FindLicenseResponse{
		LicenseShortName: "mit", LicenseName: "MIT License", LicenseUrl: "https://opensource.org/licenses/MIT", LicensePath: "LICENSE",
	}
	for i, tc := range []struct {
		name  string
		files map[string]string
		want  *gitalypb.FindLicenseResponse
	}{
		{"nothing at all", nil, &gitalypb.FindLicenseResponse{}},
		{"no license", map[string]string{"README.md": "MIT License", "licenses/MIT": textMIT}, &gitalypb.FindLicenseResponse{}},
		{"MIT", map[string]string{"LICENSE": textMIT, "README": "x"}, mit},
		{"the better of two", map[string]string{"COPYING": textISC + strings.Repeat("and more ", 30), "LICENSE": textMIT}, mit},
		{"another name", map[string]string{"COPYING.txt": textISC}, &gitalypb.FindLicenseResponse{
			LicenseShortName: "isc", LicenseName: "ISC License", LicensePath: "COPYING.txt",
			LicenseUrl: "https://www.isc.org/downloads/software-support-policy/isc-license/",
		}},
		{"not a known one", map[string]string{"License.md": "All rights reserved. " + textMIT[:200]}, &gitalypb.FindLicenseResponse{
			LicenseShortName: "other", LicenseName: "Other", LicenseNickname: "LICENSE", LicensePath: "License.md",
		}},
		{"a huge one", map[string]string{"LICENSE": strings.Repeat(textMIT, 1000)}, &gitalypb.FindLicenseResponse{
			LicenseShortName: "other", LicenseName: "Other", LicenseNickname: "LICENSE", LicensePath: "LICENSE",
		}},
	} {
		x := odd{dir: b.create(t, fmt.Sprintf("%d.git", i))}
		if tc.files != nil {
			in := bytes.NewBufferString("commit refs/heads/main\ncommitter C <c@example.com> 1700000000 +0000\ndata 0\n")
			for name, content := range tc.files {
				fmt.Fprintf(in, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
			}
			x.feed(t, in.Bytes(), "fast-import", "--quiet")
		}
		got, err := repos.FindLicense(t.Context(), &gitalypb.FindLicenseRequest{Repository: repository(fmt.Sprintf("%d.git", i))})
		if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
}
