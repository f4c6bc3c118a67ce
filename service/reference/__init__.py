"""The reference pages of docs/, written from what the service really checks and serves. Pure: text in, text out."""
