// Apply the chosen theme before the first paint, so that no other theme flashes.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* storage may be forbidden: the system's theme holds */ }
