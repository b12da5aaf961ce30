package mysql

import (
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/redoubtmq/redoubt/backend"
)

// What is wrong with a value of a client is no fault of the server: else a few logins would
// keep everybody from being asked about.
func TestAValueOfAClientIsNoFaultOfTheServer(t *testing.T) {
	for number, want := range map[uint16]backend.Kind{1267: backend.Rejected, 1270: backend.Rejected, 1271: backend.Rejected, 1366: backend.Rejected, 3988: backend.Rejected, 1045: backend.Down, 1234: backend.Down} {
		err := judge(&mysql.MySQLError{Number: number, Message: "what a client sent"})
		if backend.KindOf(err) != want || want == backend.Rejected && strings.Contains(err.Error(), "sent") {
			t.Errorf("error %d: %v", number, err)
		}
	}
}
