// Package crash tests what becomes of a daemon, and of the commands that administer its database, when they die
// or a call of theirs fails, at each step by which they change what lasts (TestMatrix), and when the power of
// the disk is cut (TestPowerCuts).
package crash
