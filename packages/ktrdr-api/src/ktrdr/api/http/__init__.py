"""What every answer has: access, problems, files in and out, the OpenAPI document."""
