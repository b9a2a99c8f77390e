with { colour = 1; };
color
