{#- The first (days < 0) or last day of the rows of an input that this model has not merged yet,
    moved by so many days, as a literal: only a literal lets Delta skip files. -#}
{%- macro news_extent(input, column, cursor, days) -%}
    {%- if execute -%}
        {%- set aggregate = 'min' if days < 0 else 'max' -%}
        {%- set query -%}
            select cast(date_add(coalesce({{ aggregate }}({{ column }}), date'1970-01-01'), {{ days }}) as string)
            from {{ ref(input) }}
            where {{ is_new(cursor, cursor) }}
        {%- endset -%}
        date'{{ run_query(query).rows[0][0] }}'
    {%- else -%}
        date'1970-01-01'
    {%- endif -%}
{%- endmacro -%}
