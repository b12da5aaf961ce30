package listener

// listenAgain leaves the standard library's choice, which is SOMAXCONN: to listen
// again changes nothing there.
func listenAgain(uintptr, int) error { return nil }
