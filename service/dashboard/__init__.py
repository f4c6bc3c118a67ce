"""The pages in the browser: Jinja templates, htmx for what changes, uPlot for curves. All of it is served from here; nothing is built."""
