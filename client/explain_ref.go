package client

import "strings"

// refWords are what redoubt puts before the reference of a refusal.
const refWords = "the operator finds the reason by ref "

// whyRef says what the operator asks with the reference that a server has told, which has
// eight hexadecimal digits; nothing if it has told none.
func whyRef(reasonString string) []string {
	_, ref, found := strings.Cut(reasonString, refWords)
	if !found || len(ref) < 8 || strings.Trim(ref[:8], "0123456789abcdef") != "" {
		return nil
	}
	return []string{"the operator is told the reason by: redoubt why " + ref[:8]}
}
