"""Find out what runs show: how configurations differ, which one to take, how sure that is."""
