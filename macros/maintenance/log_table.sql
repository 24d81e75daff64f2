{#- Prints rows of values under their headings, columns aligned, numbers to the right. -#}
{%- macro log_table(headings, rows) -%}
    {%- set widths = [] -%}
    {%- for heading in headings -%}
        {%- set lengths = rows | map(attribute=loop.index0) | map('string') | map('length') -%}
        {%- do widths.append(([heading | length] + lengths | list) | max) -%}
    {%- endfor -%}
    {%- for row in [headings] + rows -%}
        {%- set cells = [] -%}
        {%- for value in row -%}
            {%- set width = widths[loop.index0] -%}
            {%- set is_number = rows and rows[0][loop.index0] is number -%}
            {%- do cells.append(
                (value | string).rjust(width) if is_number else (value | string).ljust(width)
            ) -%}
        {%- endfor -%}
        {%- do log((cells | join('  ')).rstrip(), info=true) -%}
    {%- endfor -%}
{%- endmacro -%}
