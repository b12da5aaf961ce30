package listener

// ConnectionsMax is how many connections the door lets in altogether, as it is in
// force now. It may be called from any goroutine.
func (d *Door) ConnectionsMax() int64 { return d.total.Max() }
