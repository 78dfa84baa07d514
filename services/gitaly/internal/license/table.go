package license

// table has the usual licenses, with names and pages as SPDX lists them, and the
// nicknames of choosealicense.com. Any other is "other".
var table = map[string]License{ //nolint:gochecknoglobals // a constant
	"0BSD":         {Name: "BSD Zero Clause License", URL: "http://landley.net/toybox/license.html"},
	"AGPL-3.0":     {Name: "GNU Affero General Public License v3.0", URL: "https://www.gnu.org/licenses/agpl.txt", Nickname: "GNU AGPLv3"},
	"Apache-2.0":   {Name: "Apache License 2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"},
	"Artistic-2.0": {Name: "Artistic License 2.0", URL: "https://opensource.org/licenses/artistic-license-2.0"},
	"BSD-2-Clause": {Name: `BSD 2-Clause "Simplified" License`, URL: "https://opensource.org/licenses/BSD-2-Clause"},
	"BSD-3-Clause": {Name: `BSD 3-Clause "New" or "Revised" License`, URL: "https://opensource.org/licenses/BSD-3-Clause"},
	"BSL-1.0":      {Name: "Boost Software License 1.0", URL: "http://www.boost.org/LICENSE_1_0.txt"},
	"CC-BY-4.0":    {Name: "Creative Commons Attribution 4.0 International", URL: "https://creativecommons.org/licenses/by/4.0/legalcode"},
	"CC-BY-SA-4.0": {Name: "Creative Commons Attribution Share Alike 4.0 International", URL: "https://creativecommons.org/licenses/by-sa/4.0/legalcode"},
	"CC0-1.0":      {Name: "Creative Commons Zero v1.0 Universal", URL: "https://creativecommons.org/publicdomain/zero/1.0/legalcode"},
	"EPL-1.0":      {Name: "Eclipse Public License 1.0", URL: "http://www.eclipse.org/legal/epl-v10.html"},
	"EPL-2.0":      {Name: "Eclipse Public License 2.0", URL: "https://www.eclipse.org/legal/epl-2.0"},
	"EUPL-1.2":     {Name: "European Union Public License 1.2", URL: "https://joinup.ec.europa.eu/page/eupl-text-11-12"},
	"GPL-2.0":      {Name: "GNU General Public License v2.0 only", URL: "https://www.gnu.org/licenses/old-licenses/gpl-2.0-standalone.html", Nickname: "GNU GPLv2"},
	"GPL-3.0":      {Name: "GNU General Public License v3.0 only", URL: "https://www.gnu.org/licenses/gpl-3.0-standalone.html", Nickname: "GNU GPLv3"},
	"ISC":          {Name: "ISC License", URL: "https://www.isc.org/downloads/software-support-policy/isc-license/"},
	"LGPL-2.1":     {Name: "GNU Lesser General Public License v2.1 only", URL: "https://www.gnu.org/licenses/old-licenses/lgpl-2.1-standalone.html", Nickname: "GNU LGPLv2.1"},
	"LGPL-3.0":     {Name: "GNU Lesser General Public License v3.0 only", URL: "https://www.gnu.org/licenses/lgpl-3.0-standalone.html", Nickname: "GNU LGPLv3"},
	"MIT":          {Name: "MIT License", URL: "https://opensource.org/licenses/MIT"},
	"MPL-2.0":      {Name: "Mozilla Public License 2.0", URL: "http://www.mozilla.org/MPL/2.0/"},
	"NCSA":         {Name: "University of Illinois/NCSA Open Source License", URL: "http://otm.illinois.edu/uiuc_openSource", Nickname: "UIUC/NCSA"},
	"ODbL-1.0":     {Name: "Open Data Commons Open Database License v1.0", URL: "http://www.opendatacommons.org/licenses/odbl/1.0/", Nickname: "ODbL"},
	"Unlicense":    {Name: "The Unlicense", URL: "https://unlicense.org/"},
	"WTFPL":        {Name: "Do What The F*ck You Want To Public License", URL: "http://www.wtfpl.net/about/"},
	"Zlib":         {Name: "zlib License", URL: "http://www.zlib.net/zlib_license.html"},
}
