"""Say what is in a data set: counts, lengths, popularity, times, and what its splits hold."""
