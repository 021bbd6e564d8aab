package main

import (
	"fmt"
	"strings"
	"time"
)

// goals writes what certd promises, and whether this run kept it.
func (m *match) goals(b *strings.Builder) {
	b.WriteString("\n## Promises\n\n| certd | in this run | kept |\n| --- | --- | --- |\n")
	line := func(promise, value string, kept bool) {
		word := "yes"
		if !kept {
			word = "**no**"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", promise, value, word)
	}
	us := m.rows[0]
	for _, c := range []cell{us.one, us.twenty} {
		if c.n > 0 {
			most := 2/float64(c.n) + 7 + 1
			line(fmt.Sprintf("at most 2/N + 7 requests per certificate, and 1 for renewal information, N = %d", c.n),
				fmt.Sprintf("%.2f of %.2f", c.perCertificate(c.n), most), c.perCertificate(c.n) <= most)
		}
	}
	m.against(line, us)
	if big, small := us.nothing[10000], us.nothing[1000]; big.n > 0 && small.n > 0 {
		line("nothing to do for 10,000 in less than 100 MB", megabytes(big.memory)+" MB", big.memory < 100_000)
		times := float64(us.leastCPU[10000]) / float64(us.leastCPU[1000])
		line("the least processor time of that at most 10 times that for 1,000, and a tenth for noise", fmt.Sprintf("%.1f times", times), times <= 11)
	}
	line("a program under 25 MB", fmt.Sprintf("%.1f MB", float64(us.size)/1e6), us.size < 25e6)
	line("start in under 30 ms", fmt.Sprintf("%.1f ms", us.start.Seconds()*1000), us.start < 30*time.Millisecond)
}

// against compares with the other clients, as far as they were measured.
func (m *match) against(line func(promise, value string, kept bool), us *row) {
	var fastest *row
	for _, r := range m.rows[1:] {
		if r.batch.n > 0 && (fastest == nil || r.batch.scaled(m.Batch) < fastest.batch.scaled(m.Batch)) {
			fastest = r
		}
		if r.name == "uacme" && r.one.n > 0 && us.one.n > 0 {
			line("one certificate as fast as uacme", seconds(us.one.wall)+" of "+seconds(r.one.wall)+" s", us.one.wall <= r.one.wall)
		}
		least := map[string]float64{"certbot": 20, "acmetool": 100}[r.name]
		if theirs, ours := r.nothing[1000], us.nothing[1000]; least > 0 && theirs.n > 0 && ours.n > 0 {
			times := float64(theirs.wall) / float64(ours.wall)
			line(fmt.Sprintf("nothing to do for 1,000 at least %.0f times as fast as %s", least, r.name), fmt.Sprintf("%.0f times", times), times >= least)
		}
	}
	if fastest != nil && us.batch.n > 0 {
		theirs, ours := fastest.batch.scaled(m.Batch), us.batch.scaled(m.Batch)
		line(fmt.Sprintf("%d certificates in a tenth of the time of the fastest other client, %s", m.Batch, fastest.name),
			seconds(ours)+" of "+seconds(theirs)+" s", ours <= theirs/10)
	}
}
