package main

// withoutWaiting: there are no FIFOs among the files.
const withoutWaiting = 0
