{#- Whether one of the columns was supplied as text and did not become a value.
    `typed` maps the text column to the typed one. -#}
{%- macro any_unreadable(typed) -%}
    (
        {%- for text, value in typed.items() %}
        {{ 'or ' if not loop.first }}({{ text }} is not null and {{ value }} is null)
        {%- endfor %}
    )
{%- endmacro -%}
